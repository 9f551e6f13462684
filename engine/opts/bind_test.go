package opts

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

type common struct {
	ReadOnly bool `opt:"read-only" default:"off" help:"refuse writes"`
}

type server struct {
	Type string `opt:"type" enum:"inet,unix" default:"inet"`
	Host string `opt:"host"`
	Port uint16 `opt:"port" default:"24007" min:"1"`
}

type everything struct {
	common
	Name     string        `opt:"name,alias=old-name" required:"true" help:"a name"`
	Cluster  int64         `opt:"cluster-size,alias=cluster_size,alias=cs" kind:"size,pow2" default:"64k" min:"512" max:"2M"`
	Length   int64         `opt:"length" kind:"size"`
	Prealloc string        `opt:"preallocation" enum:"off,metadata,falloc,full" default:"off"`
	Lazy     OptBool       `opt:"lazy"`
	Maybe    *bool         `opt:"maybe"`
	Locking  Tristate      `opt:"locking" default:"auto"`
	Bits     int8          `opt:"bits" enum:"8,16,32" default:"16"`
	Count    int           `opt:"count" min:"-5" max:"5"`
	Big      uint64        `opt:"big"`
	Ratio    float64       `opt:"ratio" min:"0" max:"1"`
	Delay    time.Duration `opt:"delay" kind:"ms" default:"5"`
	Timeout  time.Duration `opt:"timeout" max:"1h"`
	Tags     []string      `opt:"tags"`
	Sizes    []int64       `opt:"sizes" kind:"size" max:"1M"`
	Server   []server      `opt:"server"`
	One      server        `opt:"one"`
	Other    *server       `opt:"other"`
	File     *Tree         `opt:"file"`
	Children []*Tree       `opt:"children"`
	Any      Value         `opt:"any"`
	Addr     netip.Addr    `opt:"addr"`
	Password Secret        `opt:"password"`
	Pin      string        `opt:"pin" secret:"true"`
	Key      SecretRef     `opt:"encrypt.key-secret"`
	Format   string        `opt:"encrypt.format" enum:"luks,aes"`
}

func bindText(t *testing.T, s string) (*everything, *Tree, error) {
	t.Helper()
	tree, err := ParseKeyval(s)
	if strings.HasPrefix(s, "{") {
		tree, err = ParseJSON([]byte(s))
	}
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	var dst everything
	return &dst, tree, tree.Bind(&dst)
}

func TestBindDefaults(t *testing.T) {
	got, tree, err := bindText(t, "name=x")
	if err != nil {
		t.Fatal(err)
	}
	want := everything{
		Name: "x", Cluster: 64 << 10, Prealloc: "off", Bits: 16, Delay: 5 * time.Millisecond,
		One: server{Type: "inet", Port: 24007},
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	if err := tree.Unused(); err != nil {
		t.Error(err)
	}
}

func TestBindAll(t *testing.T) {
	got, tree, err := bindText(t, "read_only=on,old_name=x,cs=2M,length=1.5k,preallocation=FULL,lazy=off,maybe=yes,locking=off,"+
		"bits=32,count=-5,big=18446744073709551615,ratio=0.25,delay=250,timeout=1h,tags.0=a,tags.1=b,sizes=4k,"+
		"server.0.host=h,server.1.type=unix,one.host=o,one.port=1,other.host=p,file.driver=nbd,file.x.y=1,"+
		"children.0.driver=a,children.1=null-co://,any.0=z,addr=::1,password=pw,pin=1234,encrypt.key-secret=s0,encrypt.format=luks")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Unused(); err != nil {
		t.Error(err)
	}
	yes := true
	want := everything{
		common: common{ReadOnly: true}, Name: "x", Cluster: 2 << 20, Length: 1536, Prealloc: "full",
		Lazy: OptBool{Given: true}, Maybe: &yes, Locking: Off, Bits: 32, Count: -5, Big: 1<<64 - 1, Ratio: 0.25,
		Delay: 250 * time.Millisecond, Timeout: time.Hour, Tags: []string{"a", "b"}, Sizes: []int64{4096},
		Server: []server{{"inet", "h", 24007}, {"unix", "", 24007}}, One: server{"inet", "o", 1},
		Other: &server{"inet", "p", 24007}, Addr: netip.MustParseAddr("::1"), Pin: "1234", Key: "s0", Format: "luks",
	}
	if f := got.File; f.Driver() != "nbd" || f.At() != "file" {
		t.Errorf("file: %v at %q", f, f.At())
	}
	if c := got.Children; len(c) != 2 || c[1].Driver() != "null-co" || c[1].At() != "children.1" {
		t.Errorf("children: %v", c)
	}
	if got.Any.Kind() != KindArray || string(got.Password.Bytes()) != "pw" {
		t.Errorf("any %v, password %q", got.Any, got.Password.Bytes())
	}
	got.File, got.Children, got.Any, got.Password = nil, nil, Value{}, Secret{}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

func TestBindJSONKinds(t *testing.T) {
	got, _, err := bindText(t, `{"name":"x","length":1536,"lazy":true,"count":3,"ratio":0.5,"maybe":null,"other":null,"file":null,"any":null,"delay":7,"sizes":[1,"1k"]}`)
	if err != nil {
		t.Fatal(err)
	}
	if got.Length != 1536 || got.Lazy != (OptBool{true, true}) || got.Count != 3 || got.Ratio != 0.5 || got.Maybe != nil ||
		got.Other != nil || got.File != nil || got.Any.Kind() != KindNull || got.Delay != 7*time.Millisecond || got.Sizes[1] != 1024 {
		t.Errorf("got %+v", *got)
	}
}

func TestBindErrors(t *testing.T) {
	for s, want := range map[string]string{
		"cluster_size=64k":                  "name: is missing: want a string",
		"name=x,cluster_size=63k":           "cluster_size: value 63k: want a power of two from 512 to 2M",
		"name=x,cluster-size=4M":            "cluster-size: value 4M: want a power of two from 512 to 2M",
		"name=x,cs=":                        "cs: empty value: want a power of two from 512 to 2M",
		"name=x,cs=64k,cluster_size=64k":    "cs: is another name of cluster_size, which is given too",
		"name=x,length=-1":                  "length: value -1: negative: want a size such as 512, 64k, 1.5G or 1T",
		"name=x,length=1.5":                 "length: value 1.5: fraction of a byte: want a size such as 512, 64k, 1.5G or 1T",
		"name=x,length=9E":                  "length: value 9E: too large: want a size such as 512, 64k, 1.5G or 1T",
		"name=x,preallocation=metdata":      "preallocation: value metdata: want off, metadata, falloc or full (nearest: metadata)",
		"name=x,lazy=1":                     "lazy: value 1: want on or off",
		"name=x,locking=maybe":              "locking: value maybe: want on, off or auto",
		"name=x,bits=64":                    "bits: value 64: want 8, 16 or 32",
		"name=x,count=6":                    "count: value 6: want a whole number from -5 to 5",
		"name=x,count=1_0":                  "count: value 1_0: want a whole number from -5 to 5",
		"name=x,big=-1":                     "big: value -1: want a whole number from 0",
		"name=x,big=18446744073709551616":   "big: value 18446744073709551616: want a whole number from 0",
		"name=x,ratio=nan":                  "ratio: value nan: want a number from 0 to 1",
		"name=x,ratio=1.1":                  "ratio: value 1.1: want a number from 0 to 1",
		"name=x,delay=5 parsecs":            `delay: value "5 parsecs": want a duration such as 500us, 10s or 1h30m`,
		"name=x,timeout=2h":                 "timeout: value 2h: want a duration up to 1h",
		"name=x,sizes.0=1k,sizes.1=2M":      "sizes.1: value 2M: want a size up to 1M",
		"name=x,server.0.port=0":            "server.0.port: value 0: want a whole number from 1",
		"name=x,server.0.port=65536":        "server.0.port: value 65536: want a whole number from 1",
		"name=x,one=h":                      "one: value h: want keys of its own such as one.type",
		"name=x,tags.0.a=1":                 "tags.0: is an object: want a string",
		"name=x,file=nbbd:x":                "file: value nbbd: unknown protocol",
		"name=x,file.0=x":                   "file: is a list: want the name of a node, or keys of its own",
		"name=x,addr=1.2.3":                 "addr: value 1.2.3: ParseAddr",
		"name=x,other.type=tcp":             "other.type: value tcp: want inet or unix",
		`{"name":null}`:                     "name: is null: want a string",
		`{"name":"x","lazy":1}`:             "lazy: value 1: want on or off",
		`{"name":"x","length":true}`:        "length: value true: want a size such as 512, 64k, 1.5G or 1T",
		`{"name":"x","length":[]}`:          "length: is a list: want a size such as 512, 64k, 1.5G or 1T",
		`{"name":"x","count":1e1}`:          "count: value 1e1: want a whole number from -5 to 5",
		"name=x,encrypt.format=lux":         "encrypt.format: value lux: want luks or aes",
		"name=x,pin.a=s3cret":               "pin: is an object: want a string",
		"name=x,password.0=s3cret":          "password: is a list: want a value of another form",
		"name=x,encrypt.key_secret.x=s3":    "encrypt.key_secret: is an object: want the id of a secret",
		"name=x,maybe=perhaps":              "maybe: value perhaps: want on or off",
		"name=x,old-name=y":                 "old-name: is another name of name, which is given too",
		"name=x,cluster_size=99999999999T":  "cluster_size: value 99999999999T: too large: want a power of two from 512 to 2M",
		"name=x,length=iscsi://u%p@h/t/1":   "length: value iscsi://u%***@h/t/1: want a size",
		"name=x,children.0=c:\\x":           `children.0: value c:\x: a Windows path`,
		"name=x,delay=-1":                   "delay: value -1: want a duration",
		"name=x,timeout=99999999999999999d": "timeout: value 99999999999999999d: want a duration up to 1h",
	} {
		_, _, err := bindText(t, s)
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", s, err, want)
		}
		if e != nil && (strings.Contains(e.Error(), "s3cret") || e.Kind == nil) {
			t.Errorf("%s: %v of kind %v", s, e, e.Kind)
		}
	}
}

func TestBindErrorPosition(t *testing.T) {
	_, _, err := bindText(t, "name=x,cluster_size=63k")
	var e *Error
	if !errors.As(err, &e) || e.Pos != 20 || e.Value != "63k" || e.Key != "cluster_size" || !errors.Is(err, ErrValue) {
		t.Errorf("%+v", e)
	}
}

func TestUnused(t *testing.T) {
	for s, want := range map[string]string{
		"name=x,cluster_sise=1":               "cluster_sise: unknown option (nearest: cluster-size)",
		"name=x,server.0.prot=1":              "server.0.prot: unknown option (nearest: port)",
		"name=x,encrypt.fromat=luks":          "encrypt.fromat: unknown option (nearest: format)",
		"name=x,encrpt.format=luks":           "encrpt: unknown option (nearest: encrypt)",
		"name=x,encrypt=on":                   "encrypt: is a string, but has keys of its own",
		"name=x,one.qqqqqq=1":                 "one.qqqqqq: unknown option (known: type, host, port)",
		"name=x,lenth=1,coun=2":               "lenth: unknown option (nearest: length); coun too",
		"name=x,za=1,zb=2,zc=3,zd=4,ze=5":     "; zb too; zc too; zd too; and 1 more",
		"name=x,file.driver=a,file.unknown=1": "",
		"name=x,any.x.y=1":                    "",
	} {
		_, tree, err := bindText(t, s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		err = tree.Unused()
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ErrUnknown)):
			t.Errorf("%s:\n got %v\nwant %s", s, err, want)
		}
	}
}

// TestBindTwice: what one struct leaves, the next may take, and Unused knows both.
func TestBindTwice(t *testing.T) {
	tree := mustKeyval(t, "driver=x,host=h,read-only=on,reed-only=on")
	if v, ok := tree.Take("driver"); !ok || v.Text() != "x" {
		t.Errorf("driver %v, %v", v, ok)
	}
	var a server
	var b common
	if err := tree.Bind(&a); err != nil {
		t.Fatal(err)
	}
	if err := tree.Bind(&b); err != nil {
		t.Fatal(err)
	}
	if a.Host != "h" || !b.ReadOnly {
		t.Errorf("%+v %+v", a, b)
	}
	if err := tree.Unused(); err == nil || err.Error() != "reed-only: unknown option (nearest: read-only)" {
		t.Errorf("%v", err)
	}
	if err := tree.Clone().Unused(); err == nil || !strings.HasPrefix(err.Error(), "driver: unknown option") {
		t.Errorf("a clone is consumed already: %v", err)
	}
}

// TestBindKeepsPreset: a default does not replace what the caller has set.
func TestBindKeepsPreset(t *testing.T) {
	dst := server{Port: 7}
	if err := NewTree().Bind(&dst); err != nil || dst.Port != 7 || dst.Type != "inet" {
		t.Errorf("%+v, %v", dst, err)
	}
}

func TestSecretTagHides(t *testing.T) {
	_, tree, err := bindText(t, "name=x,pin=1234")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tree.Redacted(), `json:{"name":"x","pin":"***"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBindWantsPointer(t *testing.T) {
	for _, dst := range []any{nil, 1, server{}, (*server)(nil), new(int)} {
		if err := NewTree().Bind(dst); err == nil {
			t.Errorf("Bind to %T accepted", dst)
		}
	}
}

func TestDescribe(t *testing.T) {
	got := map[string]Option{}
	for _, o := range Describe(&everything{}) {
		got[o.Name] = o
	}
	for _, want := range []Option{
		{Name: "read-only", Type: "bool", Default: "off", Help: "refuse writes", Want: "on or off"},
		{Name: "name", Aliases: []string{"old-name"}, Type: "string", Help: "a name", Want: "a string", Required: true},
		{Name: "cluster-size", Aliases: []string{"cs"}, Type: "size", Default: "64k", Min: "512", Max: "2M", Want: "a power of two from 512 to 2M"},
		{Name: "preallocation", Type: "enum", Default: "off", Enum: []string{"off", "metadata", "falloc", "full"}, Want: "off, metadata, falloc or full"},
		{Name: "locking", Type: "on|off|auto", Default: "auto", Want: "on, off or auto"},
		{Name: "maybe", Type: "bool", Want: "on or off"},
		{Name: "tags", Type: "list of string", Want: "a list, each element a string"},
		{Name: "server.*.port", Type: "int", Default: "24007", Min: "1", Want: "a whole number from 1"},
		{Name: "one.type", Type: "enum", Default: "inet", Enum: []string{"inet", "unix"}, Want: "inet or unix"},
		{Name: "other.host", Type: "string", Want: "a string"},
		{Name: "file", Type: "node", Want: "the name of a node, or keys of its own"},
		{Name: "encrypt.key-secret", Type: "secret id", Want: "the id of a secret"},
		{Name: "password", Type: "string", Want: "a value of another form", Secret: true},
	} {
		if o := got[want.Name]; !reflect.DeepEqual(o, want) {
			t.Errorf("got  %+v\nwant %+v", o, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, v := range map[string]any{
		"default": struct {
			A int64 `opt:"a" kind:"size" default:"64q"`
		}{},
		"bounds": struct {
			A int `opt:"a" min:"x"`
		}{},
		"outside": struct {
			A int `opt:"a" min:"5" default:"4"`
		}{},
		"kind": struct {
			A string `opt:"a" kind:"size"`
		}{},
		"unit": struct {
			A int `opt:"a" kind:"ms"`
		}{},
		"word": struct {
			A int `opt:"a,nick=b"`
		}{},
		"twice": struct {
			A int `opt:"a-b"`
			B int `opt:"a_b"`
		}{},
		"name": struct {
			A int `opt:"a b"`
		}{},
		"index": struct {
			A int `opt:"a.0"`
		}{},
		"type": struct {
			A chan int `opt:"a"`
		}{},
		"map": struct {
			A map[string]int `opt:"a"`
		}{},
		"lists": struct {
			A [][]int `opt:"a"`
		}{},
		"unbounded": struct {
			A string `opt:"a" min:"1"`
		}{},
		"hidden": struct {
			a int `opt:"a"`
		}{},
		"itself":    cyclic{},
		"no struct": 5,
	} {
		if err := Check(v); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, v := range []any{everything{}, &server{}, struct{ A int }{}, struct {
		A chan int `opt:"-"`
	}{}} {
		if err := Check(v); err != nil {
			t.Error(err)
		}
	}
}

type cyclic struct {
	Next *cyclic `opt:"next"`
}

func TestValueNode(t *testing.T) {
	tree := mustKeyval(t, "a.driver=x,b=nbd:unix:/s,c=,l.0=x,bad=nope:x")
	if err := tree.Set("null", nil); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"a": `json:{"driver":"x"}`, "b": `json:{"driver":"nbd","server":{"path":"/s","type":"unix"}}`, "c": "none", "null": "none",
		"l": "at.l: is a list: want the name of a node, or keys of its own", "bad": "at.bad: value nope: unknown protocol",
		"absent": "at.absent: is absent",
	} {
		v, _ := tree.Get(key)
		node, err := v.Node("at." + key)
		got := "none"
		if err != nil {
			got = err.Error()
		} else if node != nil {
			got = node.Canonical()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}
