package server

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

func TestNegotiation(t *testing.T) {
	ref, _ := memory(t)
	_, path := start(t, Config{}, &Export{Name: "a", Description: "first", Root: ref}, &Export{Name: "b", Root: ref, ReadOnly: true})
	p := connect(t, path)
	var names []string
	for _, a := range p.mustAck(wire.OptList, nil) {
		if e, err := wire.ParseServerEntry(a.data); a.rep == wire.RepServer && err == nil {
			names = append(names, string(e.Name)+"="+string(e.Detail))
		}
	}
	if !slices.Equal(names, []string{"a=first", "b="}) {
		t.Errorf("%q", names)
	}
	for _, c := range []struct {
		o    wire.Option
		data []byte
		want wire.Rep
	}{
		{wire.OptList, []byte{1}, wire.RepErrInvalid},
		{wire.OptStartTLS, nil, wire.RepErrPolicy},
		{wire.OptPeekExport, nil, wire.RepErrUnsup},
		{wire.Option(99), []byte("what"), wire.RepErrUnsup},
		{wire.OptInfo, []byte{0, 0, 0, 9}, wire.RepErrInvalid},
		{wire.OptInfo, wire.AppendInfoRequest(nil, "c"), wire.RepErrUnknown},
		{wire.OptGo, wire.AppendInfoRequest(nil, ""), wire.RepErrUnknown},
		{wire.OptGo, wire.AppendInfoRequest(nil, strings.Repeat("x", maxOptionData+1)), wire.RepErrTooBig},
		{wire.OptSetMetaContext, wire.AppendMetaRequest(nil, "a", "base:allocation"), wire.RepErrInvalid},
		{wire.OptStructuredReply, []byte{0}, wire.RepErrInvalid},
		{wire.OptStructuredReply, nil, wire.RepAck},
		{wire.OptSetMetaContext, wire.AppendMetaRequest(nil, "c", "base:allocation"), wire.RepErrUnknown},
		{wire.OptExtendedHeaders, nil, wire.RepAck},
		{wire.OptStructuredReply, nil, wire.RepErrExtHeaderReqd},
		{wire.OptInfo, wire.AppendInfoRequest(nil, "a", wire.InfoName), wire.RepAck},
	} {
		if got := last(p.option(c.o, c.data)); got != c.want {
			t.Errorf("%v: %v, want %v", c.o, got, c.want)
		}
	}
	if got := last(p.option(wire.OptAbort, nil)); got != wire.RepAck {
		t.Errorf("ABORT: %v", got)
	}
	p.closed()
}

func TestMetaContexts(t *testing.T) {
	ref, _ := memory(t)
	_, path := start(t, Config{}, &Export{Name: "a", Root: ref, AllocationDepth: true})
	p := connect(t, path)
	p.mustAck(wire.OptStructuredReply, nil)
	ask := func(o wire.Option, queries ...string) string {
		var out []string
		for _, a := range p.mustAck(o, wire.AppendMetaRequest(nil, "a", queries...)) {
			if m, err := wire.ParseMetaContext(a.data); a.rep == wire.RepMetaContext && err == nil {
				out = append(out, string(m.Name))
			}
		}
		return strings.Join(out, " ")
	}
	const both = "base:allocation qemu:allocation-depth"
	for _, c := range []struct {
		o       wire.Option
		queries []string
		want    string
	}{
		{wire.OptListMetaContext, nil, both},
		{wire.OptListMetaContext, []string{"qemu:"}, "qemu:allocation-depth"},
		{wire.OptListMetaContext, []string{"qemu:", "base:", "x:"}, "qemu:allocation-depth base:allocation"},
		{wire.OptSetMetaContext, []string{"qemu:", "base:"}, ""},
		{wire.OptSetMetaContext, []string{"base:allocation", "base:allocation", "qemu:dirty-bitmap:x"}, "base:allocation"},
	} {
		if got := ask(c.o, c.queries...); got != c.want {
			t.Errorf("%v %q: %q, want %q", c.o, c.queries, got, c.want)
		}
	}
}

// An old client names its export and is in transmission at once; a name that is not there ends it.
func TestExportName(t *testing.T) {
	ref, content := memory(t)
	_, path := start(t, Config{}, &Export{Name: "a", Root: ref})
	p := connect(t, path)
	b := make([]byte, wire.OptionSize)
	wire.OptionHeader{Option: wire.OptExportName, Len: 1}.Put(b)
	p.write(append(b, 'a'))
	e, err := wire.ParseExport(p.read(wire.ExportNameSize))
	if err != nil || e.Size != testSize || e.Flags&wire.SendDF != 0 {
		t.Fatalf("%+v %v", e, err)
	}
	if res := p.want(wire.OK, wire.CmdRead, 0, 5, 10, nil); string(res.data) != string(content[5:15]) {
		t.Error("wrong data")
	}
	p = connect(t, path)
	p.write(append(b, 'b'))
	p.closed()
}

func TestAddRefuses(t *testing.T) {
	ref, _ := memory(t)
	s := New(Config{})
	for name, x := range map[string]*Export{
		"no node":    {},
		"offset":     {Root: ref, Offset: testSize + 1},
		"size":       {Root: ref, Offset: 1, Size: testSize},
		"bitmap":     {Root: ref, Bitmaps: []string{"b"}},
		"long names": {Root: ref, Name: strings.Repeat("n", 5000)},
	} {
		if err := s.Add(x); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := errors.Join(s.Add(&Export{Root: ref})); err != nil {
		t.Error(err)
	}
	if err := s.Add(&Export{Root: ref}); !errors.Is(err, engine.ErrExist) {
		t.Errorf("twice: %v", err)
	}
}
