package kv

// Type is a Redis data type, as TYPE names it.
type Type uint8

// The data types. The numbers are part of the record format.
const (
	TypeNone Type = iota
	TypeString
	TypeList
	TypeSet
	TypeZSet
	TypeHash
	TypeStream
)

// String is the name TYPE replies with.
func (t Type) String() string {
	return [...]string{"none", "string", "list", "set", "zset", "hash", "stream"}[t]
}

// Encoding says how a value's bytes are laid out. The numbers are part of the
// record format.
type Encoding uint8

// The encodings. What OBJECT ENCODING reports is derived from them (and, for
// strings, from the bytes: EncEdited and EncText are for those of which the bytes do
// not tell it).
const (
	EncRaw       Encoding = iota // string bytes
	EncPacked                    // packed elements (listpack): list, set, hash, zset
	EncIntset                    // packed sorted integers: set
	EncTree                      // block tree: hashtable, quicklist, skiplist
	EncBigString                 // string held as an object
	EncEdited                    // string bytes that were changed in place: raw for Redis, however short
	EncText                      // string bytes that are no int for Redis, though they are digits
)

// Value is a view of what a key holds. Bytes may alias the arena: they are
// read-only and valid until the next change to the keyspace.
type Value struct {
	Type Type
	Enc  Encoding
	// ExpireAt is Unix ms; 0 means no expiry.
	ExpireAt int64
	// Bytes is the string, or the packed collection, when Enc holds its data in
	// the record.
	Bytes []byte
	// Obj is the large object when Enc is EncTree or EncBigString.
	Obj *object
}
