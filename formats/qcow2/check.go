package qcow2

import (
	"context"
	"github.com/blkbench/blkbench/engine"
)

func (m *Image) Check(ctx context.Context, o engine.CheckOptions) (engine.CheckResult, error) {
	return engine.CheckResult{}, nil
}

type Detail struct{}

func (m *Image) newDetail() *Detail { return &Detail{} }
