package kv

import "hash/crc64"

// jones is the CRC-64 that Redis ends an RDB file and a DUMP with: the Jones
// polynomial, bits reflected, no inversion before or after.
var jones = crc64.MakeTable(0x95ac9329ac4bc9b5)

// crc64Update continues a CRC, 0 at the start. hash/crc64 inverts on the way in and
// out, which is undone here.
func crc64Update(crc uint64, p []byte) uint64 {
	if len(p) == 0 {
		return crc
	}
	return ^crc64.Update(^crc, jones, p)
}
