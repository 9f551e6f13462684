package uring

import "sync/atomic"

// storeRelease stores v after everything that the program did before (STLR).
func storeRelease(p *uint32, v uint32) { atomic.StoreUint32(p, v) }
