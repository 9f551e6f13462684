package throttle

import (
	"context"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
)

// Node limits what goes through it.
type Node struct {
	pass.Node
	m *Member
}

// New puts a limited node over child, which it owns from then on.
func New(child *engine.Ref, g *Group) *Node {
	return &Node{Node: pass.Over(child, "throttle"), m: g.Join()}
}

// Stage implements engine.Stager.
func (n *Node) Stage() engine.Stage { return engine.Stage{Child: n.File, Admit: n.m} }

// admit waits until a request may go.
func (n *Node) admit(ctx context.Context, op engine.Op, size int64) error {
	now := engine.Now()
	t := n.m.Admit(op, size, now)
	if t <= now {
		return nil
	}
	timer := time.NewTimer(time.Duration(t - now))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			n.m.Withdraw(op, size)
			return ctx.Err()
		case <-timer.C:
		}
		now = engine.Now()
		if t = n.m.Again(op, size, now); t <= now {
			return nil
		}
		timer.Reset(time.Duration(t - now))
	}
}

// ReadAt implements engine.Node.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := n.admit(ctx, engine.OpRead, int64(len(p))); err != nil {
		return err
	}
	return n.Node.ReadAt(ctx, p, off)
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	if err := n.admit(ctx, engine.OpWrite, int64(len(p))); err != nil {
		return err
	}
	return n.Node.WriteAt(ctx, p, off, flags)
}

// WriteCompressed implements engine.CompressedWriter.
func (n *Node) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	if err := n.admit(ctx, engine.OpWrite, int64(len(p))); err != nil {
		return err
	}
	return n.Node.WriteCompressed(ctx, p, off)
}

// Discard implements engine.Discarder.
func (n *Node) Discard(ctx context.Context, off, count int64) error {
	if err := n.admit(ctx, engine.OpDiscard, count); err != nil {
		return err
	}
	return n.Node.Discard(ctx, off, count)
}

// WriteZeroes implements engine.ZeroWriter.
func (n *Node) WriteZeroes(ctx context.Context, off, count int64, flags engine.WriteFlags) error {
	if err := n.admit(ctx, engine.OpZero, count); err != nil {
		return err
	}
	return n.Node.WriteZeroes(ctx, off, count, flags)
}

// Close leaves the group.
func (n *Node) Close() error {
	n.m.Leave()
	return n.Node.Close()
}
