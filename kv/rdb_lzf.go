package kv

import "fmt"

// lzfMaxRatio bounds what a byte of LZF can stand for: 3 bytes repeat at most 264.
const lzfMaxRatio = 88

// lzfDecompress appends the n bytes that src, LZF-compressed, stands for. It takes
// no memory for an n that src cannot produce.
//
//	000LLLLL                        L+1 bytes follow as they are
//	LLLooooo oooooooo               repeat L+2 bytes from o+1 bytes back
//	111ooooo LLLLLLLL oooooooo      repeat L+9 bytes from o+1 bytes back
func lzfDecompress(dst, src []byte, n int) ([]byte, error) {
	if n > len(src)*lzfMaxRatio {
		return nil, fmt.Errorf("%w: %d compressed bytes cannot hold %d", ErrRDB, len(src), n)
	}
	start := len(dst)
	limit := start + n
	bad := fmt.Errorf("%w: LZF data", ErrRDB)
	for i := 0; i < len(src); {
		c := int(src[i])
		i++
		if c < 32 {
			c++
			if i+c > len(src) || len(dst)+c > limit {
				return nil, bad
			}
			dst = append(dst, src[i:i+c]...)
			i += c
			continue
		}
		size := c >> 5
		if size == 7 {
			if i >= len(src) {
				return nil, bad
			}
			size += int(src[i])
			i++
		}
		if i >= len(src) {
			return nil, bad
		}
		from := len(dst) - (c&0x1f<<8 | int(src[i])) - 1
		size += 2
		i++
		if from < start || len(dst)+size > limit {
			return nil, bad
		}
		for ; size > 0; size-- { // byte by byte: source and target may overlap
			dst = append(dst, dst[from])
			from++
		}
	}
	if len(dst) != limit {
		return nil, bad
	}
	return dst, nil
}
