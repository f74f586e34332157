#include "textflag.h"

// func prefetch(lines *lines, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ lines+0(FP), AX
	MOVQ n+8(FP), CX
	LEAQ (AX)(CX*8), CX

next:
	CMPQ       AX, CX
	JAE        done
	MOVQ       (AX), DX
	PREFETCHT1 (DX)
	ADDQ       $8, AX
	JMP        next

done:
	RET
