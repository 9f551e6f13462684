package fiojob

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RunOptions are options of a run as a whole.
type RunOptions struct {
	Output       string   // file for the report; empty: standard output
	Formats      []string // normal, terse, json, json+; empty: normal
	TerseVersion int      // 0: 3
	Report       string   // file for the HTML report

	StatusInterval time.Duration // print the state this often; 0: never
	ETA            string        // auto, always, never; empty: auto
	ETAInterval    time.Duration // 0: one second
	ETANewline     time.Duration // 0: none
	BandwidthLog   bool          // logs of the run's bandwidth as a whole

	Sections      []string // only these jobs; empty: all
	ParseOnly     bool
	ShowCmd       bool
	Lenient       bool // unknown and refused keys are warnings
	ReadOnly      bool
	WarningsFatal bool
	MaxJobs       int      // 0: DefaultMaxJobs
	AllowDestroy  []string // devices that may be overwritten although they hold data
	Throttle      string   // limits of the run as a whole, as QEMU's throttling options have them
	AllowExec     bool
	AllowInclude  bool
	AuxPath       string // folder for state files; empty: the current one

	Help    bool
	Version bool
	CmdHelp string // a key, or "all"
	EngHelp string // an engine, engine,key, or "list"
}

// runs reports whether jobs are asked for at all, rather than help.
func (o *RunOptions) runs() bool {
	return !o.Help && !o.Version && o.CmdHelp == "" && o.EngHelp == ""
}

// argMode says whether an option of the command line has a value.
type argMode uint8

const (
	argNone     argMode = iota
	argRequired         // --k=v or --k v
	argOptional         // --k or --k=v
)

// RunOption is one option of the command line that is no key of a job: a row
// of the table RunOptionTable.
type RunOption struct {
	Name   string
	Short  byte
	Arg    string // what its value is called in help; empty: it has none
	Help   string
	Status Status
	Note   string
	Ours   bool // not in fio

	mode argMode
	set  func(o *RunOptions, v string) error
}

// RunOptionTable lists the options of the command line. The caller must not
// change it.
func RunOptionTable() []RunOption { return runOptions }

func runFlag(field func(*RunOptions) *bool) func(*RunOptions, string) error {
	return func(o *RunOptions, _ string) error {
		*field(o) = true
		return nil
	}
}

func runText(field func(*RunOptions) *string) func(*RunOptions, string) error {
	return func(o *RunOptions, v string) error {
		*field(o) = v
		return nil
	}
}

func runList(field func(*RunOptions) *[]string) func(*RunOptions, string) error {
	return func(o *RunOptions, v string) error {
		*field(o) = append(*field(o), v)
		return nil
	}
}

// runTime reads a duration in seconds that is at least least.
func runTime(field func(*RunOptions) *time.Duration, least time.Duration) func(*RunOptions, string) error {
	return func(o *RunOptions, v string) error {
		d, err := parseTime(v, unitSeconds)
		if err == nil && d < least {
			err = fmt.Errorf("less than %v", least)
		}
		*field(o) = d
		return err
	}
}

var formats = []string{"normal", "terse", "json", "json+"}

func setFormats(o *RunOptions, v string) error {
	o.Formats = nil
	for f := range strings.SplitSeq(v, ",") {
		f = strings.TrimSpace(f)
		if f == "minimal" {
			f = "terse"
		}
		if err := addFormat(o, f); err != nil {
			return err
		}
	}
	return nil
}

func addFormat(o *RunOptions, f string) error {
	if slices.Contains(formats, f) {
		o.Formats = append(o.Formats, f)
		return nil
	}
	return fmt.Errorf("unknown format %q: there are %s", f, strings.Join(formats, ", "))
}

func setETA(o *RunOptions, v string) error {
	switch v {
	case "auto", "always", "never":
		o.ETA = v
		return nil
	}
	return fmt.Errorf("%q is not auto, always or never", v)
}

func setTerseVersion(o *RunOptions, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 2 || n > 5 {
		return fmt.Errorf("%q is not a version from 2 to 5", v)
	}
	o.TerseVersion = n
	return nil
}

func setSection(o *RunOptions, v string) error {
	if v == "global" {
		return errors.New("global is no job")
	}
	o.Sections = append(o.Sections, v)
	return nil
}

func setMaxJobs(o *RunOptions, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 1<<20 {
		return fmt.Errorf("%q is no number of jobs", v)
	}
	o.MaxJobs = n
	return nil
}
