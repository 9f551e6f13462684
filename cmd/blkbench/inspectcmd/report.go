package inspectcmd

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Verdict is the sum of the findings.
type Verdict string

// The verdicts.
const (
	Safe       Verdict = "safe"
	Suspicious Verdict = "suspicious"
	Unexamined Verdict = "unexamined"
)

// Report is what was found; its JSON is an interface to scripts.
type Report struct {
	Filename      string      `json:"filename"`
	Verdict       Verdict     `json:"verdict"`
	Format        string      `json:"format"`
	Formats       []string    `json:"formats"` // every format whose signature is there
	Contents      []string    `json:"contents,omitempty"`
	FileSize      int64       `json:"file-size"`
	AllocatedSize int64       `json:"allocated-size"`
	VirtualSize   *int64      `json:"virtual-size,omitempty"`
	MappedSize    *int64      `json:"mapped-size,omitempty"` // guest bytes that the image has data for
	ClusterSize   int64       `json:"cluster-size,omitempty"`
	Version       string      `json:"version,omitempty"`
	References    []Reference `json:"references"`
	Encryption    string      `json:"encryption,omitempty"`
	Dirty         bool        `json:"dirty"`
	Corrupt       bool        `json:"corrupt"`
	Snapshots     []Snapshot  `json:"snapshots"`
	Bitmaps       []string    `json:"bitmaps"`
	Findings      []Finding   `json:"findings"`

	dropped map[string]int // findings beyond the most of a kind
}

// Reference is the name of another file inside the image.
type Reference struct {
	Kind   string `json:"kind"` // backing, data-file, extent, parent
	Name   string `json:"name"`
	Format string `json:"format,omitempty"`
}

// Snapshot is an internal snapshot.
type Snapshot struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	VMStateSize uint64 `json:"vm-state-size"`
}

// Finding is one thing that is not as it should be, or that has to be known.
type Finding struct {
	Code  string `json:"code"`
	Grave bool   `json:"grave"` // makes the image suspicious
	Text  string `json:"text"`
}

// maxOfCode is how many findings of one code are listed.
const maxOfCode = 8

func (r *Report) grave(code, format string, args ...any) { r.add(code, true, format, args...) }
func (r *Report) note(code, format string, args ...any)  { r.add(code, false, format, args...) }

func (r *Report) add(code string, grave bool, format string, args ...any) {
	if r.dropped == nil {
		r.dropped = map[string]int{}
	}
	if n := r.dropped[code]; n >= maxOfCode {
		r.dropped[code]++
		return
	}
	r.dropped[code]++
	r.Findings = append(r.Findings, Finding{code, grave, fmt.Sprintf(format, args...)})
}

// refer notes a reference, which is grave: who opens the image would be led to another file.
func (r *Report) refer(kind, name, format string) {
	r.References = append(r.References, Reference{kind, strings.ToValidUTF8(name, "�"), strings.ToValidUTF8(format, "�")})
	r.grave("reference", "the image refers to another file (%s): %s", kind, strconv.Quote(name))
}

// conclude says how many findings are not listed, and gives the verdict.
func (r *Report) conclude(examined bool) {
	codes := make([]string, 0, len(r.dropped))
	for code, n := range r.dropped {
		if n > maxOfCode {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	for _, code := range codes {
		r.Findings = append(r.Findings, Finding{code, true, fmt.Sprintf("%d more of these", r.dropped[code]-maxOfCode)})
	}
	r.Verdict = Safe
	if !examined {
		r.Verdict = Unexamined
	}
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Grave }) {
		r.Verdict = Suspicious
	}
}

// write prints the report for people. Names are quoted: they are the stranger's.
func (r *Report) write(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-16s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("image", "%s", r.Filename)
	line("verdict", "%s", r.Verdict)
	line("format", "%s", strings.TrimSpace(r.Format+" "+r.Version))
	if len(r.Contents) > 0 {
		line("contents", "%s", strings.Join(r.Contents, ", "))
	}
	line("file size", "%d bytes, %d allocated", r.FileSize, r.AllocatedSize)
	if r.VirtualSize != nil {
		line("virtual size", "%d bytes", *r.VirtualSize)
	}
	if r.MappedSize != nil {
		line("mapped", "%d bytes", *r.MappedSize)
	}
	if r.Encryption != "" {
		line("encryption", "%s", r.Encryption)
	}
	for _, ref := range r.References {
		text := ref.Kind + " " + strconv.Quote(ref.Name)
		if ref.Format != "" {
			text += " as " + strconv.Quote(ref.Format)
		}
		line("refers to", "%s", text)
	}
	if len(r.Snapshots) > 0 {
		line("snapshots", "%d", len(r.Snapshots))
	}
	if len(r.Bitmaps) > 0 {
		line("bitmaps", "%d", len(r.Bitmaps))
	}
	for _, f := range r.Findings {
		name := "note"
		if f.Grave {
			name = "suspicious"
		}
		line(name, "%s [%s]", f.Text, f.Code)
	}
}
