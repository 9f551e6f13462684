package opts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func mustKeyval(t *testing.T, s string) *Tree {
	t.Helper()
	tree, err := ParseKeyval(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return tree
}

func TestSetGet(t *testing.T) {
	tree := NewTree()
	for _, s := range []struct {
		path string
		v    any
	}{
		{"driver", "qcow2"},
		{"server.0.host", "h"},
		{"server.1.host", "i"},
		{"server.1.port", 24007},
		{"a.b.c", true},
		{"none", nil},
		{"names", []string{"x", "y"}},
		{"rate", 1.5},
		{"map", map[string]any{"x.y": 1, "s": "t"}},
	} {
		if err := tree.Set(s.path, s.v); err != nil {
			t.Fatalf("Set %s: %v", s.path, err)
		}
	}
	const want = `json:{"driver":"qcow2","a":{"b":{"c":true}},"map":{"s":"t","x":{"y":1}},"names":["x","y"],"none":null,"rate":1.5,"server":[{"host":"h"},{"host":"i","port":24007}]}`
	if got := tree.Canonical(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for path, kind := range map[string]Kind{
		"driver": KindString, "server": KindArray, "server.0": KindObject, "server.1.port": KindNumber,
		"a.b.c": KindBool, "none": KindNull, "names.1": KindString,
	} {
		if v, ok := tree.Get(path); !ok || v.Kind() != kind {
			t.Errorf("Get %s: %v, %v, want %v", path, ok, v.Kind(), kind)
		}
	}
	for _, path := range []string{"", "x", "server.2", "server.x", "driver.x", "server.0.host.x", "names.01", "server.4000000000"} {
		if v, ok := tree.Get(path); ok {
			t.Errorf("Get %q found %v", path, v)
		}
	}
	if s, ok := tree.Sub("server.1"); !ok || s.At() != "server.1" {
		t.Errorf("Sub server.1: %v, at %q", ok, s.At())
	}
	if _, ok := tree.String("none"); ok {
		t.Error("String of null found a text")
	}
}

func TestSetRefused(t *testing.T) {
	tree := mustKeyval(t, "a=1,list.0=x,obj.k=v")
	before := tree.Canonical()
	for _, s := range []struct {
		path string
		v    any
		kind error
	}{
		{"", "x", ErrSyntax},
		{"0", "x", ErrSyntax},
		{"a.b", "x", ErrConflict},
		{"list.2", "x", ErrSyntax},
		{"list.k", "x", ErrConflict},
		{"obj.0", "x", ErrConflict},
		{"new.1", "x", ErrSyntax},
		{"new.0.3.k", "x", ErrSyntax},
		{"server.4000000000.host", "x", ErrSyntax},
		{"sp ace", "x", ErrSyntax},
		{strings.Repeat("a.", MaxDepth) + "a", "x", ErrSyntax},
		{"x", struct{}{}, ErrValue},
		{"x", map[string]any{"a b": 1}, ErrSyntax},
		{"x", "a\x00b", ErrSyntax},
		{"x", make([]string, MaxKeys+1), ErrSyntax},
	} {
		err := tree.Set(s.path, s.v)
		if !errors.Is(err, s.kind) {
			t.Errorf("Set %q: %v, want %v", s.path, err, s.kind)
		}
		if got := tree.Canonical(); got != before {
			t.Fatalf("Set %q left %s", s.path, got)
		}
	}
}

// TestSetCopies: a tree cannot be made to contain itself, and its nesting stays bounded.
func TestSetCopies(t *testing.T) {
	tree := mustKeyval(t, "a=1")
	var err error
	for range MaxDepth + 1 {
		if err = tree.Set("self", tree); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrSyntax) || tree.depth() != MaxDepth {
		t.Errorf("depth %d, %v", tree.depth(), err)
	}
	sub, _ := tree.Sub("self")
	if err := sub.Set("b.c", tree); !errors.Is(err, ErrSyntax) {
		t.Errorf("Set below: %v", err)
	}
	if err := sub.Merge(tree); err == nil {
		t.Error("Merge nested deeper than the bound")
	}
}

func TestUnderscoreIsHyphen(t *testing.T) {
	tree := mustKeyval(t, "cluster_size=64k,sub-tree.key_name=x")
	for _, path := range []string{"cluster-size", "cluster_size", "sub_tree.key-name"} {
		if !tree.Has(path) {
			t.Errorf("%s not found", path)
		}
	}
	if err := tree.Set("cluster-size", "128k"); err != nil {
		t.Fatal(err)
	}
	if got := tree.Keys(); len(got) != 2 || got[0] != "cluster_size" {
		t.Errorf("keys %v", got)
	}
}

func TestDelete(t *testing.T) {
	tree := mustKeyval(t, "a=1,o.x=1,o.y=2,l.0=a,l.1=b")
	for _, d := range []struct {
		path string
		ok   bool
	}{{"a", true}, {"a", false}, {"o.x", true}, {"l.0", false}, {"l.1", true}, {"l.0", true}, {"q.r", false}, {"l.x.0", false}} {
		if got := tree.Delete(d.path); got != d.ok {
			t.Errorf("Delete %s: %v", d.path, got)
		}
	}
	if got, want := tree.Canonical(), `json:{"l":[],"o":{"y":"2"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMerge(t *testing.T) {
	for _, m := range []struct{ a, b, want string }{
		{"a=1", "b=2", `json:{"a":"1","b":"2"}`},
		{"a=1", "a=1,b=2", `json:{"a":"1","b":"2"}`},
		{"o.x=1", "o.y=2", `json:{"o":{"x":"1","y":"2"}}`},
		{"cluster_size=1", "cluster-size=2", "cluster-size: value 2: given already as 1"},
		{"o.x=1", "o.x=2", "o.x: value 2: given already as 1"},
		{"o.x=1", "o=2", `o: value 2: given already as "{\"x\":\"1\"}"`},
		{"o.password=one", "o.password=two", "o.password: value ***: given already as ***"},
		{"u=ssh://a:b@h/", "u=ssh://a:c@h/", "u: value ssh://a:***@h/: given already as ssh://a:***@h/"},
	} {
		a, b := mustKeyval(t, m.a), mustKeyval(t, m.b)
		before, got := a.Canonical(), ""
		if err := a.Merge(b); err != nil {
			got = err.Error()
			if !errors.Is(err, ErrConflict) || a.Canonical() != before {
				t.Errorf("%s + %s: %v, left %s", m.a, m.b, err, a.Canonical())
			}
		} else {
			got = a.Canonical()
		}
		if got != m.want {
			t.Errorf("%s + %s:\n got %s\nwant %s", m.a, m.b, got, m.want)
		}
	}
}

func TestClone(t *testing.T) {
	a := mustKeyval(t, "o.x=1,l.0.y=2")
	b := a.Clone()
	for path, v := range map[string]string{"o.x": "9", "l.0.y": "9", "new": "9"} {
		if err := b.Set(path, v); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := a.Canonical(), `json:{"l":[{"y":"2"}],"o":{"x":"1"}}`; got != want {
		t.Errorf("the original became %s", got)
	}
}

func TestKeyvalPositions(t *testing.T) {
	tree := mustKeyval(t, "a=1,bb.cc=x,,y,d=2")
	for path, pos := range map[string]int{"a": 2, "bb.cc": 10, "d": 17} {
		if v, _ := tree.Get(path); v.Pos() != pos {
			t.Errorf("%s at %d, want %d", path, v.Pos(), pos)
		}
	}
	for s, want := range map[string]Error{
		"a=1,b":          {Pos: 4, Kind: ErrSyntax},
		"a=1,,b":         {},
		"a=1,b=2,a=3":    {Pos: 8, Kind: ErrConflict},
		",a=1":           {Pos: 0, Kind: ErrSyntax},
		"a=1,=2":         {Pos: 4, Kind: ErrSyntax},
		"a=1,b c=2":      {Pos: 4, Kind: ErrSyntax},
		"a=1\x00":        {Pos: 3, Kind: ErrSyntax},
		"a.0=1,a.x=2":    {Pos: 6, Kind: ErrConflict},
		"a.1=1":          {Pos: 0, Kind: ErrSyntax},
		"a.1024=1":       {Pos: 0, Kind: ErrSyntax},
		"a=1,a.b=2":      {Pos: 4, Kind: ErrConflict},
		"a.b=1,a=2":      {Pos: 6, Kind: ErrConflict},
		"0=a":            {Pos: 0, Kind: ErrSyntax},
		"a=1,":           {},
		"":               {},
		"help":           {Pos: 0, Kind: ErrSyntax},
		"a..b=1":         {Pos: 0, Kind: ErrSyntax},
		"a=json:{\"b\"}": {},
	} {
		_, err := ParseKeyval(s)
		var e *Error
		switch {
		case want.Kind == nil && err != nil, want.Kind != nil && !errors.As(err, &e):
			t.Errorf("%q: %v", s, err)
		case want.Kind != nil && (e.Pos != want.Pos || !errors.Is(e, want.Kind)):
			t.Errorf("%q: at %d, %v (%v), want at %d, %v", s, e.Pos, e.Kind, err, want.Pos, want.Kind)
		}
	}
}

func TestBounds(t *testing.T) {
	var keys, elems strings.Builder
	for i := range MaxKeys + 1 {
		fmt.Fprintf(&keys, "k%d=,", i)
		elems.WriteString("0,")
	}
	for name, parse := range map[string]func() error{
		"keys":     func() error { _, err := ParseKeyval(keys.String()); return err },
		"length":   func() error { _, err := ParseKeyval("a=" + strings.Repeat("x", MaxInput)); return err },
		"depth":    func() error { _, err := ParseKeyval(strings.Repeat("a.", MaxDepth) + "a=1"); return err },
		"key":      func() error { _, err := ParseKeyval(strings.Repeat("a", maxKey+1) + "=1"); return err },
		"name":     func() error { _, err := ParseName(strings.Repeat("x", MaxInput+1)); return err },
		"json":     func() error { _, err := ParseJSON([]byte(strings.Repeat(" ", MaxInput) + "{}")); return err },
		"elements": func() error { _, err := ParseJSON([]byte(`{"a":[` + elems.String() + `0]}`)); return err },
		"nesting": func() error {
			_, err := ParseJSON([]byte(strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1)))
			return err
		},
		"lists": func() error {
			_, err := ParseJSON([]byte(`{"a":` + strings.Repeat(`[`, MaxDepth) + strings.Repeat("]", MaxDepth) + "}"))
			return err
		},
		"both": func() error {
			_, err := ParseImageOpts(strings.Repeat("a.", MaxDepth-2) + `file=json:{"a":{"b":{}}}`)
			return err
		},
	} {
		if err := parse(); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseKeyval(strings.Repeat("a.", MaxDepth-1) + "a=1"); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	var list []string
	for i := MaxKeys - 1; i >= 0; i-- {
		list = append(list, "l."+strconv.Itoa(i)+"=x")
	}
	if tree, err := ParseKeyval(strings.Join(list, ",")); err != nil {
		t.Errorf("list at the bound: %v", err)
	} else if l, _ := tree.List("l"); len(l) != MaxKeys {
		t.Errorf("list of %d", len(l))
	}
}

func TestHasHelp(t *testing.T) {
	for s, want := range map[string]bool{
		"help": true, "?": true, "a=1,help": true, "a=1,?,b=2": true, "": false, "a=help": false, "a=x,,help": false, "help=1": false,
	} {
		if got := HasHelp(s); got != want {
			t.Errorf("HasHelp(%q) = %v", s, got)
		}
	}
}

func TestJSON(t *testing.T) {
	for s, want := range map[string]string{
		`{}`: `json:{}`,
		` {"a" : [ 1 , -2.5e+10 , "x" , true , false , null , {} , [] ] } `: `json:{"a":[1,-2.5e+10,"x",true,false,null,{},[]]}`,
		`{"a":"\"\\\/\b\f\n\r\té😀"}`:                                        `json:{"a":"\"\\/\u0008\u000c\n\u000d\té😀"}`,
		`{"a":"\u00e9\ud83d\ude00"}`:                                        `json:{"a":"é😀"}`,
		`{"b":1,"driver":"x","a":2}`:                                        `json:{"driver":"x","a":2,"b":1}`,
		`{"a.b":1,"a":{"c":2}}`:                                             `json:{"a":{"b":1,"c":2}}`,
		`{"a":{"c":2},"a.b":1}`:                                             `json:{"a":{"b":1,"c":2}}`,
		`{"l.1":"b","l.0":"a"}`:                                             `json:{"l":["a","b"]}`,
		`{"l":{"0":"a"}}`:                                                   `json:{"l":["a"]}`,
		`{"a":"` + "\xff" + `"}`:                                            "json:{\"a\":\"\xff\"}",
		`{"a":1,"a":2}`:                                                     "",
		`{"a_b":1,"a-b":2}`:                                                 "",
		`{"a":{"x":1},"a":{"y":2}}`:                                         "",
		`{"a.b":1,"a":{"b":2}}`:                                             "",
		`{"a.b":1,"a":2}`:                                                   "",
		`{"a":[],"a.0":1}`:                                                  "",
		`{"a":1,}`:                                                          "",
		`{"a":[1,]}`:                                                        "",
		`{a:1}`:                                                             "",
		`{'a':1}`:                                                           "",
		`{"a":01}`:                                                          "",
		`{"a":1.}`:                                                          "",
		`{"a":.5}`:                                                          "",
		`{"a":+1}`:                                                          "",
		`{"a":1e}`:                                                          "",
		`{"a":nul}`:                                                         "",
		`{"a":"` + "\n" + `"}`:                                              "",
		`{"a":"\u0000"}`:                                                    "",
		`{"a":"\ud800"}`:                                                    "",
		`{"a":"\udc00\ud800"}`:                                              "",
		`{"a":"\x"}`:                                                        "",
		`{"a":"`:                                                            "",
		`{"a"`:                                                              "",
		`{"a":`:                                                             "",
		`{`:                                                                 "",
		``:                                                                  "",
		`[]`:                                                                "",
		`{} {}`:                                                             "",
		`{"":1}`:                                                            "",
		`{"a b":1}`:                                                         "",
	} {
		tree, err := ParseJSON([]byte(s))
		switch {
		case want == "" && err == nil:
			t.Errorf("%s: accepted as %s", s, tree.Canonical())
		case want != "" && err != nil:
			t.Errorf("%s: %v", s, err)
		case want != "" && tree.Canonical() != want:
			t.Errorf("%s: %s, want %s", s, tree.Canonical(), want)
		}
	}
}

// TestErrorPositions: an error inside json: or in a file= name points into the whole text.
func TestErrorPositions(t *testing.T) {
	for s, pos := range map[string]int{
		`json:{"a":x}`:                 10,
		`file=nbd://h:99999/`:          13,
		`driver=raw,file=json:{"a":x}`: 26,
	} {
		_, err := ParseTarget(s)
		var e *Error
		if !errors.As(err, &e) || e.Pos != pos {
			t.Errorf("%s: %v at %d, want at %d", s, err, e.Pos, pos)
		}
	}
}
