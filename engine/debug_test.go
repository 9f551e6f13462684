package engine_test

import (
	"context"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// chained is a node with children and, perhaps, breakpoints.
type chained struct {
	engine.Node
	children []engine.Child
}

func (c chained) Children() []engine.Child { return c.children }
func (chained) Info() engine.Info          { return engine.Info{} }

type breaking struct {
	chained
	name string
}

func (breaking) SetBreak(string, string) error                       { return nil }
func (breaking) RemoveBreak(string) error                            { return nil }
func (breaking) Resume(string) error                                 { return nil }
func (breaking) IsSuspended(string) bool                             { return false }
func (breaking) WaitSuspended(ctx context.Context, tag string) error { return nil }

func TestFindBreakpointerGoesDownThePrimaryChildren(t *testing.T) {
	ref := func(n engine.Node) *engine.Ref { return engine.NewRef(n, engine.OpenFlags{}) }
	leaf, backing := ref(breaking{name: "storage"}), ref(breaking{name: "backing"})
	format := chained{children: []engine.Child{{Name: "backing", Ref: backing}, {Name: "file", Ref: leaf}}}
	filter := chained{children: []engine.Child{{Name: "image", Ref: ref(format)}}}
	if b, ok := engine.FindBreakpointer(ref(filter)).(breaking); !ok || b.name != "storage" {
		t.Errorf("found %v, want the storage child's", b)
	}
	only := chained{children: []engine.Child{{Name: "backing", Ref: backing}}}
	if b := engine.FindBreakpointer(ref(only)); b != nil {
		t.Errorf("found %v below a backing file", b)
	}
	if b := engine.FindBreakpointer(nil); b != nil {
		t.Errorf("found %v in nothing", b)
	}
}
