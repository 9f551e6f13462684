package opts

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/names.golden.json")

// goldenCase is one input of testdata/names.txt with what it parses to.
type goldenCase struct {
	Kind   string          `json:"kind"`
	Input  string          `json:"input"`
	Tree   json.RawMessage `json:"tree,omitempty"`
	Scheme bool            `json:"scheme,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// inputs reads testdata/names.txt.
func inputs(t testing.TB) []goldenCase {
	t.Helper()
	b, err := os.ReadFile("testdata/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []goldenCase
	for line := range strings.SplitSeq(string(b), "\n") {
		kind, input, ok := strings.Cut(line, "\t")
		if line == "" || line[0] == '#' {
			continue
		}
		if !ok {
			t.Fatalf("no tab in line %q", line)
		}
		if kind == "config" {
			input = strings.ReplaceAll(input, `\n`, "\n")
		}
		cases = append(cases, goldenCase{Kind: kind, Input: input})
	}
	return cases
}

// parse runs the parser that the case's kind names and returns the tree as
// JSON in the clear.
func (c *goldenCase) parse(t testing.TB) (string, bool, error) {
	t.Helper()
	var tree *Tree
	var err error
	switch c.Kind {
	case "name":
		tree, err = ParseName(c.Input)
	case "opts":
		tree, err = ParseImageOpts(c.Input)
	case "keyval":
		tree, err = ParseKeyval(c.Input)
	case "format":
		tree, err = ParseKeyvalImplied(c.Input, "driver")
	case "object":
		var o Object
		if o, err = ParseObject(c.Input); err == nil {
			tree = o.Props.Clone()
			if err := tree.Set("qom-type", o.Type); err != nil {
				t.Fatal(err)
			}
			if err := tree.Set("id", o.ID); err != nil {
				t.Fatal(err)
			}
		}
	case "config":
		var sections []Section
		sections, err = ParseConfig([]byte(c.Input))
		var all []string
		for _, s := range sections {
			all = append(all, string(s.Tree.appendJSON([]byte(`{"group":"`+s.Group+`","id":"`+s.ID+`","tree":`), false))+"}")
		}
		return "[" + strings.Join(all, ",") + "]", false, err
	default:
		t.Fatalf("unknown kind %q", c.Kind)
	}
	if err != nil {
		return "", false, err
	}
	return strings.TrimPrefix(tree.Canonical(), "json:"), tree.SchemeDriver(), nil
}

func TestGolden(t *testing.T) {
	const path = "testdata/names.golden.json"
	cases := inputs(t)
	for i := range cases {
		c := &cases[i]
		tree, scheme, err := c.parse(t)
		if err != nil {
			c.Error = err.Error()
			if strings.Contains(c.Error, "s3cret") {
				t.Errorf("%s: error shows the password: %s", c.Input, c.Error)
			}
			continue
		}
		c.Tree, c.Scheme = json.RawMessage(tree), scheme
	}
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(cases); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(b, got.Bytes()) {
		return
	}
	var want []goldenCase
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for i := range cases {
		w := goldenCase{}
		if i < len(want) {
			w = want[i]
		}
		var tree bytes.Buffer
		if w.Tree != nil {
			if err := json.Compact(&tree, w.Tree); err != nil {
				t.Fatal(err)
			}
		}
		c := cases[i]
		if c.Input != w.Input || c.Error != w.Error || c.Scheme != w.Scheme || string(c.Tree) != tree.String() {
			t.Errorf("%s %s:\n got %s%s\nwant %s%s", c.Kind, c.Input, c.Tree, c.Error, tree.String(), w.Error)
		}
	}
	if !t.Failed() {
		t.Error("golden file differs in form; run with -update")
	}
}

// TestGoldenRoundTrip: the canonical spelling of every tree parses to that tree.
func TestGoldenRoundTrip(t *testing.T) {
	for _, c := range inputs(t) {
		if c.Kind != "name" && c.Kind != "opts" {
			continue
		}
		tree, _, err := c.parse(t)
		if err != nil {
			continue
		}
		again, err := ParseName("json:" + tree)
		if err != nil {
			t.Errorf("%s: %s does not parse: %v", c.Input, tree, err)
			continue
		}
		if got := again.Canonical(); got != "json:"+tree {
			t.Errorf("%s: %s becomes %s", c.Input, tree, got)
		}
	}
}

// TestOneMeaningOneTree: spellings of the same thing give equal trees.
func TestOneMeaningOneTree(t *testing.T) {
	groups := [][]string{
		{"nvme://0000:06:0d.0/1", "nvme://0000:06:0d.0/", "driver=nvme,device=0000:06:0d.0,namespace=1"},
		{
			"nbd://h:1024/e", "nbd+tcp://h:1024/e", "nbd:h:1024:exportname=e", "driver=nbd,host=h,port=1024,export=e",
			"driver=nbd,server.type=inet,server.host=h,server.port=1024,export=e",
			"driver=nbd,server.type=tcp,server.host=h,server.port=1024,export=e",
			`json:{"driver":"nbd","export":"e","server.type":"inet","server.host":"h","server":{"port":"1024"}}`,
		},
		{"nbd+unix:///e?socket=/s", "nbd:unix:/s:exportname=e", "driver=nbd,path=/s,export=e"},
		{"nbd://h/", "nbd://h", "nbd:h:10809", "driver=nbd,host=h"},
		{
			"iscsi://u%p@h/iqn.x/1", "iscsi://u:p@h:3260/iqn.x/1",
			"driver=iscsi,transport=tcp,portal=h:3260,target=iqn.x,lun=1,user=u,password=p",
		},
		{
			"ssh://u@h/p?host_key_check=sha1:ab", "driver=ssh,user=u,host=h,path=/p,host_key_check=sha1:ab",
			"driver=ssh,user=u,server.host=h,server.port=22,path=/p,host-key-check.mode=hash,host-key-check.type=sha1,host-key-check.hash=ab",
		},
		{"gluster://h/v/p", "gluster+tcp://h:24007/v/p", "driver=gluster,volume=v,path=p,server.0.type=tcp,server.0.host=h,server.0.port=24007"},
		{"gluster+unix:///v/p?socket=/s", "driver=gluster,volume=v,path=p,server.0.type=unix,server.0.socket=/s"},
		{"sheepdog:///i#5", "sheepdog:i:5", "driver=sheepdog,server.type=inet,server.host=localhost,server.port=7000,vdi=i,snap_id=5"},
		{"fat:floppy:rw:12:/d", "fat:12:rw:floppy:/d", "driver=vvfat,floppy=on,rw=on,fat-type=12,dir=/d"},
		{"https://h/p", "driver=https,url=https://h/p"},
		{"null-co://", "driver=null-co"},
		{"file:/a", "driver=file,filename=/a", `json:{"filename":"/a","driver":"file"}`},
		{"file=/a,file.locking=off", "file.filename=/a,file.locking=off"},
		{"driver=raw,file=node0", `json:{"driver":"raw","file":"node0"}`},
		{"driver=raw,file=./node0", "driver=raw,file.filename=./node0"},
	}
	for _, g := range groups {
		want, err := ParseTarget(g[0])
		if err != nil {
			t.Errorf("%s: %v", g[0], err)
			continue
		}
		for _, s := range g[1:] {
			got, err := ParseTarget(s)
			if err != nil {
				t.Errorf("%s: %v", s, err)
				continue
			}
			if !got.Equal(want) || !want.Equal(got) {
				t.Errorf("%s is %s\n%s is %s", g[0], want.Canonical(), s, got.Canonical())
			}
		}
	}
}
