#include "textflag.h"

// func fetchLines(lines *lines, n int)
TEXT ·fetchLines(SB), NOSPLIT, $0-16
	MOVQ lines+0(FP), AX
	MOVQ n+8(FP), CX
	LEAQ (AX)(CX*8), CX
	MOVQ AX, BX

ask:
	CMPQ       AX, CX
	JAE        wait
	MOVQ       (AX), DX
	PREFETCHT0 (DX)
	ADDQ       $8, AX
	JMP        ask

wait:
	CMPQ BX, CX
	JAE  done
	MOVQ (BX), DX
	MOVB (DX), R8
	ADDQ $8, BX
	JMP  wait

done:
	RET
