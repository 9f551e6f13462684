package fiojob

import (
	"fmt"
	"io"
	"strings"
)

// WriteKeysPage writes docs/fio-keys.md: every key, and what becomes of it.
func WriteKeysPage(w io.Writer) error {
	p := printer{w: w}
	p.printf("%s", keysPreface)
	counts := map[Status]int{}
	for _, o := range table {
		counts[o.Status]++
	}
	p.printf("%d keys are honoured, %d are equivalent to what is done anyway, %d are refused.\n", counts[Honoured], counts[Equivalent], counts[Refused])
	for _, c := range categories {
		p.printf("\n## %s\n\n| key | | value | default | what it does |\n| --- | --- | --- | --- | --- |\n", c.cat)
		for i := range c.rows {
			p.row(&c.rows[i])
		}
	}
	p.printf("\n## I/O engines\n\n| ioengine | | what it is |\n| --- | --- | --- |\n")
	for i := range engineValues {
		v := &engineValues[i]
		p.printf("| `%s` | %s | %s |\n", v.Name, v.Status, sentence(v.Help, v.Note))
	}
	p.printf("\n## Options of the command line\n\n| option | | what it does |\n| --- | --- | --- |\n")
	for i := range runOptions {
		o := &runOptions[i]
		help := o.Help
		if o.Ours {
			help += " (not in fio)"
		}
		p.printf("| `--%s` | %s | %s |\n", o.Name, o.Status, sentence(help, o.Note))
	}
	return p.err
}

func (p *printer) row(o *Option) {
	names := make([]string, 0, 3)
	for _, n := range o.Names() {
		names = append(names, "`"+n+"`")
	}
	help := o.Help
	if len(o.Engines) > 0 {
		help += " [" + strings.Join(o.Engines, ", ") + "]"
	}
	if o.Since != "" {
		help += " (fio " + o.Since + ")"
	}
	if o.Category != CatIO || o.Name != "ioengine" {
		help += refusedValues(o)
	}
	def := ""
	if o.Default != "" {
		def = "`" + o.Default + "`"
	}
	p.printf("| %s | %s | %s | %s | %s |\n", strings.Join(names, " "), o.Status, o.Kind, def, sentence(help, o.Note))
}

// refusedValues names the choices that are not honoured and why.
func refusedValues(o *Option) string {
	var b strings.Builder
	for i := range o.Values {
		if v := &o.Values[i]; v.Status == Refused {
			fmt.Fprintf(&b, "; `%s` is refused: %s", v.Name, v.Note)
		}
	}
	return b.String()
}

// sentence joins help and note for a cell of a table.
func sentence(help, note string) string {
	s := help
	if note != "" {
		s = joinNonEmpty(" — ", help, "*"+note+"*")
	}
	return strings.ReplaceAll(s, "|", "\\|")
}

const keysPreface = `# Keys of fio job files

This page is written from the table in ` + "`bench/fiojob`" + ` (` + "`go test ./bench/fiojob -run KeysPage -update`" + `).

` + "`blkbench run`" + ` reads fio's job files and command lines. Of each key it says one of three things:

* **honoured**: it does what fio's manual says;
* **equivalent**: it asks for what is done anyway, or is done in another way; the run says how;
* **refused**: the run does not start, and says why. With ` + "`--lenient`" + ` that is a warning and the key is ignored. A refused key
  that is set to its default asks for nothing and passes.

A key that is in no table is an error that names the nearest one. Nothing is ignored without a word.

In job files, ` + "`;`" + ` and ` + "`#`" + ` begin a comment anywhere in a line, ` + "`${NAME}`" + ` is the environment's value, and ` + "`$pagesize`" + `,
` + "`$mb_memory`" + ` and ` + "`$ncpus`" + ` are those of the machine (on a command line, too), with arithmetic: ` + "`size=8*$pagesize`" + `,
` + "`bs=(4*1024)`" + `. ` + "`include FILE`" + ` reads keys from a file in the job file's folder, or anywhere with ` + "`--allow-include`" + `.
Sizes are in units of 1024 (` + "`k m g t p`" + `; with ` + "`kb_base=1000`" + ` of 1000). Only ` + "`kib`, `mib`, …" + ` mean the other one.

`
