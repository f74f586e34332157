package kv

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
)

// redisDigest is DEBUG DIGEST's sum: Redis's own, so that a dataset has the same
// digest here and there. Order does not count where xor is used (keys, members), and
// does where mix is (elements of lists, a field and its value).
//
// It is for tests and tools: what nodes compare is digestCut, which is faster and also
// covers expiry times and consumer groups.
type redisDigest [sha1.Size]byte

func (d *redisDigest) xor(b []byte) {
	sum := sha1.Sum(b)
	for i := range d {
		d[i] ^= sum[i]
	}
}

func (d *redisDigest) mix(b []byte) {
	d.xor(b)
	*d = sha1.Sum(d[:])
}

func (d *redisDigest) mixNumber(n uint32) { d.mix(binary.BigEndian.AppendUint32(nil, n)) }

// value adds a key's value; digits17: scores are printed as up to Redis 7.0.
func (d *redisDigest) value(v Value, digits17 bool) {
	d.mixNumber(redisTypeNumber(v.Type))
	switch v.Type {
	case TypeString:
		d.mix(v.Bytes)
	case TypeList:
		eachElement(v, d.mix)
	case TypeSet:
		eachElement(v, d.xor)
	case TypeHash:
		if v.hasFieldTTL() {
			d.expiring(v.Obj)
			break
		}
		d.pairs(v, func(val []byte) []byte { return val })
	case TypeZSet:
		d.pairs(v, func(val []byte) []byte {
			if digits17 {
				return appendDigits17(nil, readScore(val))
			}
			return appendShortest(nil, readScore(val))
		})
	case TypeStream:
		d.stream(v.Obj)
	}
	if v.ExpireAt != 0 {
		d.xor([]byte("!!expire!!"))
	}
}

// expiring adds a hash with fields that expire.
func (d *redisDigest) expiring(o *object) {
	for it := o.t.first(); it.valid(); it.next() {
		key, val := it.entry()
		var one redisDigest
		one.mix(hashedMember(key))
		one.mix(val)
		if o.fieldTTL(key) != 0 {
			one.xor([]byte("!!hexpire!!"))
		}
		d.xor(one[:])
	}
}

// pairs adds a hash's or a sorted set's members with their values.
func (d *redisDigest) pairs(v Value, text func(val []byte) []byte) {
	var one redisDigest
	second := false
	eachElement(v, func(e []byte) {
		if !second {
			one = redisDigest{}
			one.mix(e)
		} else {
			one.mix(text(e))
			d.xor(one[:])
		}
		second = !second
	})
}

func (d *redisDigest) stream(o *object) {
	s := viewStream(o)
	s.walk(streamID{}, maxStreamID, false, func(e *streamEntry) bool {
		d.mix(appendUint(append(appendUint(nil, e.id.ms), '.'), e.id.seq))
		e.each(func(field, val []byte) {
			d.mix(field)
			d.mix(val)
		})
		return true
	})
}

// redisTypeNumber is Redis's number of a type (OBJ_STRING and so on).
func redisTypeNumber(t Type) uint32 {
	switch t {
	case TypeList:
		return 1
	case TypeSet:
		return 2
	case TypeZSet:
		return 3
	case TypeHash:
		return 4
	case TypeStream:
		return 6
	}
	return 0
}

// debugDigest is DEBUG DIGEST: of all databases.
func debugDigest(c *Ctx) {
	var total redisDigest
	for n, ks := range c.store.dbs {
		if ks.len() == 0 {
			continue
		}
		total.mixNumber(uint32(n))
		ks.each(func(key []byte, v Value) bool {
			var d redisDigest
			d.mix(key)
			d.value(v, c.settings().RedisVersion < redis72)
			total.xor(d[:])
			return true
		})
	}
	c.Out.Status(hex.EncodeToString(total[:]))
}

// debugDigestValue is DEBUG DIGEST-VALUE key [key ...]: zeros for a missing key.
func debugDigestValue(c *Ctx) {
	c.Out.Array(len(c.Args) - 2)
	for _, key := range c.Args[2:] {
		var d redisDigest
		if v, found := c.lookup(key); found {
			d.value(v, c.settings().RedisVersion < redis72)
		}
		c.Out.Status(hex.EncodeToString(d[:]))
	}
}
