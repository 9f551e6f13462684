package engine

import "context"

// SyncRangeFlags are those of sync_file_range(2).
type SyncRangeFlags struct{ WaitBefore, Write, WaitAfter bool }

// RangeSyncer starts or awaits the writing back of a cached range. It makes nothing durable: Flush does.
type RangeSyncer interface {
	SyncRange(ctx context.Context, off, n int64, o SyncRangeFlags) error
}

// Advisor takes a hint about the offsets to come, for read-ahead.
type Advisor interface {
	Advise(off, n int64, random bool) error
}

// Invalidator drops what is cached of the node.
type Invalidator interface {
	Invalidate() error
}
