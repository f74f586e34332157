#include "textflag.h"

// func fetchLines(lines *lines, n int)
TEXT ·fetchLines(SB), NOSPLIT, $0-16
	MOVD lines+0(FP), R0
	MOVD n+8(FP), R1
	ADD  R1<<3, R0, R1
	MOVD R0, R3

ask:
	CMP  R1, R0
	BHS  wait
	MOVD (R0), R2
	PRFM (R2), PLDL1KEEP
	ADD  $8, R0
	B    ask

wait:
	CMP   R1, R3
	BHS   done
	MOVD  (R3), R2
	MOVBU (R2), R4
	ADD   $8, R3
	B     wait

done:
	RET
