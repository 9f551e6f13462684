#include "go_asm.h"
#include "textflag.h"

// func lineNow(l *line) int64
//
// nanos + (counter - ticks) × rate / 2^32. The product is signed, so that a counter a little behind the line's beginning needs no care.
TEXT ·lineNow(SB), NOSPLIT, $0-16
	MOVQ  l+0(FP), BX
	RDTSC
	SHLQ  $32, DX
	ORQ   DX, AX
	SUBQ  line_ticks(BX), AX
	IMULQ line_rate(BX)
	SHRQ  $32, DX, AX
	ADDQ  line_nanos(BX), AX
	MOVQ  AX, ret+8(FP)
	RET
