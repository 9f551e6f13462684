package main

import (
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/file"
)

// newRegistry is the one list of drivers.
func newRegistry() *engine.Registry {
	return engine.NewRegistry(
		file.Driver(),
	)
}
