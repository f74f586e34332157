package kv

import (
	"errors"
	"fmt"
)

// The RDB codec: the format of Redis's dump files, which snapshots hold and export
// and import exchange. There is no specification but Redis's rdb.c; this is the
// part of it that is written here:
//
//	"REDIS0011"                          magic, version
//	0xFA name value                      auxiliary field, any number
//	0xFE db                              the keys that follow are of this database
//	0xFB keys expires                    size hints
//	[0xFC ms]  type key value            one key; with its expiry, 8 bytes LE
//	0xFF crc                             end; CRC-64 of all before, 8 bytes LE
//
// Numbers that say length or count take 1, 2, 5 or 9 bytes; a string is a length
// and bytes, or an integer of 1, 2 or 4 bytes, or LZF-compressed (read only: the
// snapshot is compressed as a whole). Collections are one string in one of Redis's
// compact layouts, or a count and their elements as strings.
//
// How a value is written tells how it is held, so that what is restored is held
// the same way and digests equal:
//
//	                packed                         in block trees
//	list            LIST_QUICKLIST_2, one node     LIST
//	set             SET_LISTPACK, SET_INTSET       SET
//	sorted set      ZSET_LISTPACK                  ZSET_2
//	hash            HASH_LISTPACK                  HASH
//	  with expiries -                              HASH_METADATA, HASH_LISTPACK_EX
//	stream                                         STREAM_LISTPACKS_3
//
// The order of packed elements is kept. A tree's order follows from its contents
// (of a list: from the file). All of it is version 11, which Redis 7.2 reads;
// Redis 7.0 (version 10) has no SET_LISTPACK, for which ExportRDB writes SET, and of streams only
// STREAM_LISTPACKS_2 (rdb_stream.go).
const (
	rdbMagic      = "REDIS"
	rdbVersion    = 11
	rdbMaxVersion = 12

	rdbOpSlotInfo     = 244
	rdbOpFunction2    = 245
	rdbOpFunctionGA   = 246
	rdbOpModuleAux    = 247
	rdbOpIdle         = 248
	rdbOpFreq         = 249
	rdbOpAux          = 250
	rdbOpResizeDB     = 251
	rdbOpExpireMs     = 252
	rdbOpExpire       = 253
	rdbOpSelectDB     = 254
	rdbOpEOF          = 255
	rdbFirstOp        = rdbOpSlotInfo
	rdbString         = 0
	rdbList           = 1
	rdbSet            = 2
	rdbZSet           = 3
	rdbHash           = 4
	rdbZSet2          = 5
	rdbListZiplist    = 10
	rdbSetIntset      = 11
	rdbZSetZiplist    = 12
	rdbHashZiplist    = 13
	rdbListQuicklist  = 14
	rdbHashListpack   = 16
	rdbZSetListpack   = 17
	rdbListQuicklist2 = 18
	rdbSetListpack    = 20

	// Types of streams, whose order tells what each version brought.
	rdbStreamListpacks  = 15
	rdbStreamListpacks2 = 19
	rdbStreamListpacks3 = 21

	// Hashes with fields that expire (version 12, Redis 7.4).
	rdbHashMetadata   = 24
	rdbHashListpackEx = 25

	rdbNodePlain  = 1 // quicklist node that is one element
	rdbNodePacked = 2 // quicklist node that is a listpack

	// rdbAuxState is the auxiliary field with the system state. Fields of ours begin
	// with rdbAuxPrefix; exports leave them out.
	rdbAuxPrefix = "rkv-"
	rdbAuxState  = "rkv-state"

	// rdbMaxString bounds a string: Redis's own bound of a value.
	rdbMaxString = 512 << 20
)

// ErrRDB wraps every report of bytes that are no RDB file.
var ErrRDB = errors.New("malformed RDB")

// UnsupportedRDBError reports something in an RDB file that is sound as far as we
// know, but that this version cannot hold. Nothing was loaded.
type UnsupportedRDBError struct {
	// What names it in Redis's words, Code is its number in the file.
	What string
	Code byte
	// Key is the key that has the type, if it is one.
	Key []byte
}

func (e *UnsupportedRDBError) Error() string {
	if e.Key != nil {
		return fmt.Sprintf("RDB: key %.64q: %s (type %d) is not supported", e.Key, e.What, e.Code)
	}
	return fmt.Sprintf("RDB: %s (opcode %d) is not supported", e.What, e.Code)
}

// rdbUnsupported names what is known of Redis's numbers beyond ours.
var rdbUnsupported = map[byte]string{
	6: "module value", 7: "module value", 9: "zipmap hash",
	22: "hash with field expiry of a preview", 23: "hash with field expiry of a preview",
	rdbOpFunction2: "function library", rdbOpFunctionGA: "function library", rdbOpModuleAux: "module data",
}

func unsupportedRDB(code byte, key []byte) error {
	what, ok := rdbUnsupported[code]
	if !ok {
		what = "unknown value"
	}
	return &UnsupportedRDBError{What: what, Code: code, Key: append([]byte(nil), key...)}
}
