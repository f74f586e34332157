package kv

import (
	"fmt"
	"io"
	"strings"
)

// ExportRDB turns the RDB of a snapshot into one for Redis: fields of ours, which
// hold the cluster's secret hash seed among others, are left out, and with version
// 10 (Redis 7.0) packed sets are written element by element. stream delivers the
// snapshot (snapshot.Reader.Restore); w gets a complete file with a CRC of its own.
// version is 10, 11 or 12 (Redis 7.0, 7.2, 7.4); hashes with fields that expire
// need 12.
func ExportRDB(w io.Writer, stream func(sink func(raw []byte) error) error, version int) error {
	if version < 10 || version > rdbMaxVersion {
		return fmt.Errorf("RDB: version %d cannot be exported, only 10 to %d", version, rdbMaxVersion)
	}
	x := &rdbExporter{version: version}
	x.w = NewRDBWriter(func(raw []byte, _ int) error {
		_, err := w.Write(raw)
		return err
	})
	x.start(x.run)
	defer x.Abort()
	if err := stream(x.Feed); err != nil {
		return err
	}
	return x.Finish()
}

// ExportCut writes a cut as ExportRDB does. Two calls write the same bytes.
func ExportCut(w io.Writer, cut *Cut, version int) error {
	return ExportRDB(w, func(sink func(raw []byte) error) error {
		return cut.Blocks(func(raw []byte, _ int) error { return sink(raw) })
	}, version)
}

// RDBVersionOf is the version of RDB that a Redis of the setting redis-version writes.
func RDBVersionOf(redisVersion int64) int {
	switch {
	case redisVersion < redis72:
		return 10
	case redisVersion == redis72:
		return 11
	}
	return rdbMaxVersion
}

// rdbExporter copies a file that Cut.Blocks made, field by field.
type rdbExporter struct {
	rdbPush
	w             *RDBWriter
	version       int
	name, scratch []byte
}

func (x *rdbExporter) run() error {
	version, err := x.in.header()
	if err != nil {
		return err
	}
	x.w.Header(x.version)
	for {
		op, err := x.in.byte()
		if err != nil {
			return err
		}
		switch op {
		case rdbOpEOF:
			if err := x.in.end(version); err != nil {
				return err
			}
			return x.w.End()
		case rdbOpAux:
			err = x.aux()
		case rdbOpSelectDB:
			err = x.lengths(op, 1)
		case rdbOpResizeDB:
			err = x.lengths(op, 2)
		case rdbOpExpireMs:
			err = x.expiry()
		default:
			err = x.key(op)
		}
		if err != nil {
			return err
		}
		if x.w.flush(x.w.piece); x.w.err != nil {
			return x.w.err
		}
	}
}

func (x *rdbExporter) aux() error {
	b, err := x.in.string(&x.name)
	if err != nil {
		return err
	}
	name := string(b)
	value, err := x.in.string(&x.scratch)
	if err == nil && !strings.HasPrefix(name, rdbAuxPrefix) {
		x.w.Aux(name, value)
	}
	return err
}

func (x *rdbExporter) lengths(op byte, n int) error {
	x.w.b = append(x.w.b, op)
	for ; n > 0; n-- {
		if _, err := x.count(); err != nil {
			return err
		}
	}
	return nil
}

func (x *rdbExporter) count() (int, error) {
	n, err := x.in.count()
	if err == nil {
		x.w.b = appendRDBLen(x.w.b, uint64(n))
	}
	return n, err
}

func (x *rdbExporter) expiry() error {
	x.w.b = append(x.w.b, rdbOpExpireMs)
	return x.fixed(8)
}

func (x *rdbExporter) fixed(n int) error {
	b, err := x.in.fixed(n)
	if err == nil {
		x.w.b = append(x.w.b, b...)
	}
	return err
}

// strings copies n strings.
func (x *rdbExporter) strings(n int) error {
	for ; n > 0; n-- {
		s, err := x.in.string(&x.scratch)
		if err != nil {
			return err
		}
		x.w.string(s)
		if x.w.flush(x.w.piece); x.w.err != nil {
			return x.w.err
		}
	}
	return nil
}

// key copies a key and its value.
func (x *rdbExporter) key(code byte) error {
	if code == rdbSetListpack && x.version < rdbVersion {
		return x.setAsElements()
	}
	if code == rdbStreamListpacks3 {
		return x.stream()
	}
	expiring := code == rdbHashMetadata || code == rdbHashListpackEx
	if expiring && x.version < rdbMaxVersion {
		return fmt.Errorf("RDB: a hash with fields that expire cannot be exported in version %d, only in %d", x.version, rdbMaxVersion)
	}
	x.w.b = append(x.w.b, code)
	if err := x.strings(1); err != nil {
		return err
	}
	if expiring {
		if err := x.fixed(8); err != nil {
			return err
		}
	}
	switch code {
	case rdbHashListpackEx:
		return x.strings(1)
	case rdbString, rdbSetIntset, rdbSetListpack, rdbHashListpack, rdbZSetListpack:
		return x.strings(1)
	case rdbList, rdbSet, rdbHash, rdbZSet2, rdbListQuicklist2, rdbHashMetadata:
		return x.elements(code)
	}
	return unsupportedRDB(code, nil)
}

func (x *rdbExporter) elements(code byte) error {
	n, err := x.count()
	if err != nil {
		return err
	}
	for range n {
		switch code {
		case rdbHash:
			err = x.strings(2)
		case rdbHashMetadata:
			var ttl uint64
			if ttl, _, err = x.in.length(); err == nil {
				x.w.b = appendRDBLen(x.w.b, ttl)
				err = x.strings(2)
			}
		case rdbZSet2:
			if err = x.strings(1); err == nil {
				err = x.fixed(8)
			}
		case rdbListQuicklist2:
			if _, err = x.count(); err == nil {
				err = x.strings(1)
			}
		default:
			err = x.strings(1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setAsElements writes a packed set as version 10 knows it.
func (x *rdbExporter) setAsElements() error {
	x.w.b = append(x.w.b, rdbSet)
	if err := x.strings(1); err != nil {
		return err
	}
	blob, err := x.in.string(&x.scratch)
	if err != nil {
		return err
	}
	it, _, err := iterListpack(blob)
	if err != nil {
		return err
	}
	var members []byte
	n := 0
	for ; ; n++ {
		m, ok, err := it.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		members = appendRDBString(members, m)
	}
	x.w.b = append(appendRDBLen(x.w.b, uint64(n)), members...)
	return nil
}
