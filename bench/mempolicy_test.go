package bench

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memPolicyOf asks for the calling thread's memory policy (get_mempolicy(2)).
func memPolicyOf(t *testing.T) int {
	t.Helper()
	var mode int32
	if _, _, e := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&mode)), 0, 0, 0, 0, 0); e != 0 {
		t.Error(e)
	}
	return int(mode)
}
