package opts

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// seed adds the golden inputs of the kinds given.
func seed(f *testing.F, kinds string) {
	f.Helper()
	for _, c := range inputs(f) {
		if strings.Contains(kinds, c.Kind) {
			f.Add(c.Input)
		}
	}
}

// checkTree holds for every tree that a parser returns.
func checkTree(t *testing.T, tree *Tree, source string) {
	t.Helper()
	if d := tree.depth(); d > MaxDepth {
		t.Fatalf("depth %d", d)
	}
	canonical := tree.Canonical()
	// Every byte of the source makes at most a key with its quotes, or an escape.
	if bound := 16 * (len(source) + 64); len(canonical) > bound {
		t.Fatalf("%d bytes became %d", len(source), len(canonical))
	}
	again, err := ParseJSON([]byte(strings.TrimPrefix(canonical, "json:")))
	if err != nil && len(canonical) < MaxInput {
		t.Fatalf("%s does not parse: %v", canonical, err)
	}
	if err == nil && (!again.Equal(tree) || again.Canonical() != canonical) {
		t.Fatalf("%s\nis read back as\n%s", canonical, again.Canonical())
	}
	if c := tree.Clone(); !c.Equal(tree) || c.Canonical() != canonical {
		t.Fatalf("the copy is %s", c.Canonical())
	}
	if b, err := tree.MarshalJSON(); err != nil || !json.Valid(b) || !utf8.Valid(b) {
		t.Fatalf("redacted: %s, %v", b, err)
	}
	if err := tree.Clone().Merge(tree); err != nil {
		t.Fatalf("a tree does not merge with its equal: %v", err)
	}
}

// checkError holds for every error of a parser.
func checkError(t *testing.T, err error, source string) {
	t.Helper()
	var e *Error
	switch {
	case !errors.As(err, &e):
		t.Fatalf("%v is no *Error", err)
	case e.Kind == nil || e.Error() == "":
		t.Fatalf("%+v lacks a kind or a message", e)
	case e.Pos > len(source)+1:
		t.Fatalf("%v: at byte %d of %d", e, e.Pos, len(source))
	case len(e.Error()) > 2000:
		t.Fatalf("a message of %d bytes", len(e.Error()))
	}
}

func FuzzParseKeyval(f *testing.F) {
	seed(f, "keyval format opts")
	f.Add("a.0=1,a.1=2,,3,b_c.d-e=")
	f.Fuzz(func(t *testing.T, s string) {
		tree, err := ParseKeyval(s)
		if err != nil {
			checkError(t, err, s)
		} else {
			checkTree(t, tree, s)
			// What needs no implied key is the same with one.
			if same, err := ParseKeyvalImplied(s, "driver"); err != nil || !same.Equal(tree) {
				t.Fatalf("implied: %v, %v", same, err)
			}
		}
		if tree, err := ParseKeyvalImplied(s, "driver"); err == nil {
			checkTree(t, tree, s)
		}
		HasHelp(s)
	})
}

func FuzzParseJSON(f *testing.F) {
	for _, c := range inputs(f) {
		if rest, ok := strings.CutPrefix(c.Input, "json:"); ok {
			f.Add([]byte(rest))
		}
	}
	f.Add([]byte(`{"a":[1,-2.5e+10,"\u00e9\ud83d\ude00",{"b":null}],"c.0":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := ParseJSON(b)
		if err != nil {
			checkError(t, err, string(b))
			return
		}
		checkTree(t, tree, string(b))
		if !utf8.Valid(b) {
			return
		}
		// What is accepted is JSON, and where no key is special, the same JSON.
		var theirs, ours any
		if err := json.Unmarshal(b, &theirs); err != nil {
			if _, number := errors.AsType[*json.UnmarshalTypeError](err); !number {
				t.Fatalf("accepted, but %v", err)
			}
			return
		}
		if special(theirs) {
			return
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(tree.Canonical(), "json:")), &ours); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%v, want %v", ours, theirs)
		}
	})
}

// special reports whether v has keys that nest or index.
func special(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, ".") || isIndex(k) || special(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, special)
	}
	return false
}

func FuzzParseName(f *testing.F) {
	seed(f, "name")
	f.Fuzz(func(t *testing.T, s string) {
		RedactName(s)
		tree, err := ParseName(s)
		if err != nil {
			checkError(t, err, s)
			return
		}
		checkTree(t, tree, s)
		checkNormal(t, tree)
	})
}

func FuzzParseImageOpts(f *testing.F) {
	seed(f, "opts keyval")
	f.Fuzz(func(t *testing.T, s string) {
		tree, err := ParseImageOpts(s)
		if err != nil {
			checkError(t, err, s)
			return
		}
		checkTree(t, tree, s)
		checkNormal(t, tree)
	})
}

// checkNormal: what a parser of names returns is normalised, and reading its
// canonical spelling as a name changes nothing.
func checkNormal(t *testing.T, tree *Tree) {
	t.Helper()
	again := tree.Clone()
	if err := again.Normalize(); err != nil || !again.Equal(tree) {
		t.Fatalf("%s\nnormalised again is\n%s, %v", tree.Canonical(), again.Canonical(), err)
	}
	name, err := ParseName(tree.Canonical())
	if err != nil && len(tree.Canonical()) < MaxInput {
		t.Fatalf("%s: %v", tree.Canonical(), err)
	}
	if err == nil && !name.Equal(tree) {
		t.Fatalf("%s\nas a name is\n%s", tree.Canonical(), name.Canonical())
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"512", "64k", "1.5G", "7.999E", "0x10", "8E", "-1", "1.5b", " +5", "0.1k", "18446744073709551616"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			checkError(t, err, s)
			return
		}
		if n < 0 {
			t.Fatalf("%q is %d", s, n)
		}
		if back, err := ParseSize(FormatSize(n)); err != nil || back != n {
			t.Fatalf("%q is %d, spelled %s, read back as %d, %v", s, n, FormatSize(n), back, err)
		}
	})
}

func FuzzBind(f *testing.F) {
	f.Add("name=x,cluster_size=128k,server.0.host=h,server.0.port=1,file.driver=raw,delay=5")
	f.Add("old-name=x,tags.0=a,tags.1=b,sizes=1k,one.type=unix,encrypt.format=luks,encrypt.key_secret=s")
	f.Add("name=x,children.0=null-co://,file=nbd:unix:/s,any=1,addr=::1,password=p,pin=1,lazy=y,maybe=n,locking=auto")
	f.Add(`{"name":"x","sizes":[1,"2k"],"other":null,"file":null,"count":3,"ratio":0.5,"lazy":true,"server":[{"port":5}]}`)
	f.Add("name=x,cluster_size=63k")
	f.Add("name=x,server.0.prot=1")
	f.Fuzz(func(t *testing.T, s string) {
		tree, err := ParseKeyval(s)
		if strings.HasPrefix(s, "{") {
			tree, err = ParseJSON([]byte(s))
		}
		if err != nil {
			return
		}
		before := tree.Canonical()
		var dst everything
		if err := tree.Bind(&dst); err != nil {
			checkError(t, err, s)
		} else if c := dst.Cluster; c < 512 || c > 2<<20 || c&(c-1) != 0 || dst.Name == "" && !tree.Has("name") && !tree.Has("old-name") {
			t.Fatalf("bounds do not hold: %+v", dst)
		}
		if err := tree.Unused(); err != nil {
			checkError(t, err, s)
		}
		if after := tree.Canonical(); after != before {
			t.Fatalf("Bind changed %s to %s", before, after)
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	seed(f, "config")
	f.Fuzz(func(t *testing.T, s string) {
		sections, err := ParseConfig([]byte(s))
		if err != nil {
			checkError(t, err, s)
			return
		}
		for _, sec := range sections {
			checkTree(t, sec.Tree, s)
		}
	})
}

func FuzzParseObject(f *testing.F) {
	seed(f, "object")
	f.Fuzz(func(t *testing.T, s string) {
		var set Objects
		if err := set.Add(s); err != nil {
			checkError(t, err, s)
			return
		}
		o := set.list[0]
		if _, err := set.Secret(SecretRef(o.ID), func(string) ([]byte, error) { return []byte("x"), nil }); err != nil {
			checkError(t, err, s)
		}
	})
}
