package main

import (
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/blkdebug"
	"github.com/blkbench/blkbench/engine/filter/blkverify"
	"github.com/blkbench/blkbench/engine/filter/compress"
	"github.com/blkbench/blkbench/engine/filter/copyonread"
	"github.com/blkbench/blkbench/engine/filter/delay"
	"github.com/blkbench/blkbench/engine/filter/log"
	"github.com/blkbench/blkbench/engine/filter/preallocate"
	"github.com/blkbench/blkbench/engine/filter/quorum"
	"github.com/blkbench/blkbench/engine/filter/throttle"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
	"github.com/blkbench/blkbench/protocols/mem"
	"github.com/blkbench/blkbench/protocols/nbd"
	"github.com/blkbench/blkbench/protocols/null"
	"github.com/blkbench/blkbench/protocols/nvmepci"
)

// newRegistry is the one list of drivers.
func newRegistry() *engine.Registry {
	return recorded(engine.NewRegistry(
		raw.Driver(),
		qcow2.Driver(),
		file.Driver(),
		mem.Driver(),
		null.Driver(),
		nbd.Driver(),
		nvmepci.Driver(),
		nvmepci.KernelDriver(),
		throttle.Driver(),
		blkdebug.Driver(),
		preallocate.Driver(),
		copyonread.Driver(),
		compress.Driver(),
		delay.Driver(),
		blkverify.Driver(),
		quorum.Driver(),
		log.Driver(),
	))
}
