package uring

// storeRelease stores v after everything that the program did before. On amd64 every store is one: an
// atomic store would be an XCHG, some 20 cycles that this does not need.
//
//go:nosplit
func storeRelease(p *uint32, v uint32) { *p = v }
