package fiojob

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// value is the parsed value of one key. Which fields are filled depends on the
// option's kind.
type value struct {
	raw    string
	note   string // what to tell the user about how it was read
	bare   bool
	ints   [3]int64 // by direction; ints[0] where there is only one
	durs   [3]time.Duration
	ranges [3]Bytes
	has    [3]bool // directions that were named or inherit from one that was
	amount Amount
	choice *Value
	mask   int
	count  int // of KindSet: the number after the ':'; 1 if there is none
	tail   string
	tailed bool
	floats []float64
	list   []string
	cpus   []int
}

// parseValue reads raw as the option's kind says and checks its range.
func parseValue(o *Option, raw string, bare bool, kbBase int) (value, error) {
	v := value{raw: raw, bare: bare}
	if bare {
		if !o.Bare() {
			return v, errors.New("needs a value")
		}
		v.ints[0] = 1
		return v, nil
	}
	if raw == "" {
		return v, errors.New("the value is empty")
	}
	parse := kindParsers[o.Kind]
	if parse == nil { // text, patterns and splits: the setter reads raw
		return v, nil
	}
	return v, parse(o, &v, kbBase)
}

var kindParsers = [...]func(o *Option, v *value, kbBase int) error{
	KindFlag: parseBoolValue, KindBool: parseBoolValue,
	KindInt: parseInts, KindSize: parseInts,
	KindAmount: parseAmountValue, KindSizeRange: parseSizeRange, KindRange: parseRanges,
	KindTime: parseTimes, KindTimeRange: parseTimeRange,
	KindEnum: parseEnum, KindSet: parseSet,
	KindFloats: parseFloats, KindList: parseList, KindCPUs: parseCPUValue,
	KindSplit: nil,
}

func parseBoolValue(_ *Option, v *value, _ int) error {
	switch v.raw {
	case "0":
	case "1":
		v.ints[0] = 1
	default:
		return errors.New("must be 0 or 1")
	}
	return nil
}

// byDir calls f for each value of a comma-separated list. Directions after the
// last value repeat it, unless a comma ends the list; an empty value leaves its
// direction as it was.
func byDir(o *Option, v *value, f func(dir int, s string) error) error {
	fields := splitOutside(v.raw, ',')
	open := true
	if n := len(fields); n > 1 && fields[n-1] == "" {
		fields, open = fields[:n-1], false
	}
	if len(fields) > o.dirs() {
		if o.dirs() == 1 {
			return errors.New("takes one value, not a list")
		}
		return fmt.Errorf("takes at most %d values", o.dirs())
	}
	for dir := range o.dirs() {
		s := ""
		switch {
		case dir < len(fields):
			s = fields[dir]
		case open:
			s = fields[len(fields)-1]
		}
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		v.has[dir] = true
		if err := f(dir, s); err != nil {
			return err
		}
	}
	if v.has == [3]bool{} {
		return errEmpty
	}
	return nil
}

// splitOutside splits at sep where it is not in parentheses.
func splitOutside(s string, sep byte) []string {
	var fields []string
	depth, start := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == sep && depth <= 0:
			fields = append(fields, s[start:i])
			start = i + 1
		}
	}
	return append(fields, s[start:])
}

// dashedSizes reads bs=a-b as fio does, which is not as a range: a is the size of reads and b that of the directions after it, unless these
// have a size of their own.
func dashedSizes(v *value) {
	fields := splitOutside(v.raw, ',')
	dashed := false
	for i, f := range fields {
		a, b, ok := strings.Cut(f, "-")
		if !ok || a == "" || b == "" || strings.ContainsAny(f, "():") {
			continue
		}
		dashed = true
		if fields[i] = a; i == len(fields)-1 && i < 2 {
			fields = append(fields, b)
		}
	}
	if dashed {
		given := v.raw
		v.raw = strings.Join(fields, ",")
		v.note = fmt.Sprintf("bs=%s is bs=%s, as in fio; for a range say bsrange=%s", given, v.raw, given)
	}
}

func parseInts(o *Option, v *value, kbBase int) error {
	if o.Name == "bs" {
		dashedSizes(v)
	}
	return byDir(o, v, func(dir int, s string) error {
		n, err := parseSize(s, kbBase)
		if err != nil {
			if o.Dirs == 3 && strings.ContainsAny(s, ":-") && o.Name == "bs" {
				return fmt.Errorf("%w; for a range say bsrange=%s", err, s)
			}
			return err
		}
		if err := inRange(o, n); err != nil {
			return err
		}
		v.ints[dir] = n
		return nil
	})
}

func inRange(o *Option, n int64) error {
	switch {
	case n < o.Min:
		return fmt.Errorf("below the minimum %d", o.Min)
	case n > o.maxInt():
		return fmt.Errorf("above the maximum %d", o.maxInt())
	case o.Pow2 && n&(n-1) != 0:
		return errors.New("must be a power of two")
	}
	return nil
}

func parseAmountValue(_ *Option, v *value, kbBase int) (err error) {
	v.amount, err = parseAmount(v.raw, kbBase)
	return err
}

// cutRange splits "a-b" or "a:b"; b is empty for a single value.
func cutRange(s string) (a, b string) {
	num, suffix := splitNumber(s)
	if i := strings.IndexAny(suffix, "-:"); i >= 0 {
		i += len(num)
		return strings.TrimSpace(s[:i]), strings.TrimSpace(s[i+1:])
	}
	return s, ""
}

func parseSizeRange(o *Option, v *value, kbBase int) error {
	r, err := sizeRange(v.raw, kbBase, false)
	if err != nil {
		return err
	}
	v.ranges[0] = r
	return inRange(o, r.Min)
}

func sizeRange(s string, kbBase int, needTwo bool) (Bytes, error) {
	a, b := cutRange(s)
	lo, err := parseSize(a, kbBase)
	if err != nil {
		return Bytes{}, err
	}
	if b == "" {
		if needTwo {
			return Bytes{}, errors.New("must be a range: min-max")
		}
		return Bytes{lo, lo}, nil
	}
	hi, err := parseSize(b, kbBase)
	if err != nil {
		return Bytes{}, err
	}
	return Bytes{min(lo, hi), max(lo, hi)}, nil
}

func parseRanges(o *Option, v *value, kbBase int) error {
	return byDir(o, v, func(dir int, s string) error {
		r, err := sizeRange(s, kbBase, true)
		if err != nil {
			return err
		}
		v.ranges[dir] = r
		return inRange(o, r.Min)
	})
}

func parseTimes(o *Option, v *value, _ int) error {
	return byDir(o, v, func(dir int, s string) (err error) {
		v.durs[dir], err = parseTime(s, o.Unit)
		return err
	})
}

func parseTimeRange(o *Option, v *value, _ int) error {
	a, b := cutRange(v.raw)
	lo, err := parseTime(a, o.Unit)
	if err != nil {
		return err
	}
	hi := lo
	if b != "" {
		if hi, err = parseTime(b, o.Unit); err != nil {
			return err
		}
	}
	v.durs[0], v.durs[1] = min(lo, hi), max(lo, hi)
	return nil
}

func parseEnum(o *Option, v *value, _ int) error {
	name := v.raw
	if o.Tail {
		name, v.tail, v.tailed = strings.Cut(v.raw, ":")
	}
	name = strings.TrimSpace(name)
	if v.choice = o.value(name); v.choice == nil {
		return unknownChoice(o, name)
	}
	return nil
}

func unknownChoice(o *Option, name string) error {
	if near := nearest(name, o.valueNames()); near != "" {
		return fmt.Errorf("unknown choice %q; did you mean %s?", name, near)
	}
	return fmt.Errorf("unknown choice %q; there are %s", name, strings.Join(o.valueNames(), ", "))
}

func parseSet(o *Option, v *value, _ int) error {
	names, count, counted := strings.Cut(v.raw, ":")
	v.count = 1
	if counted {
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no count", count)
		}
		v.count = n
	}
	for name := range strings.SplitSeq(names, ",") {
		choice := o.value(strings.TrimSpace(name))
		if choice == nil {
			return unknownChoice(o, name)
		}
		v.mask |= choice.Code
	}
	return nil
}

func parseFloats(o *Option, v *value, _ int) error {
	fields := splitOutside(v.raw, ':')
	if len(fields) > o.MaxLen {
		return fmt.Errorf("at most %d numbers", o.MaxLen)
	}
	for _, s := range fields {
		f, err := parseFloat(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		if f < 0 || f > o.FMax {
			return fmt.Errorf("%g is not between 0 and %g", f, o.FMax)
		}
		v.floats = append(v.floats, f)
	}
	return nil
}

func parseList(_ *Option, v *value, _ int) error {
	v.list = splitNames(v.raw)
	if len(v.list) == 0 {
		return errors.New("names nothing")
	}
	return nil
}

// splitNames splits a list of file names at its colons; "\:" is a colon in a
// name. A target of this program, which has colons of its own, is one name.
func splitNames(s string) []string {
	if IsTarget(s) {
		return []string{s}
	}
	var names []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == ':':
			b.WriteByte(':')
			i++
		case s[i] == ':':
			if b.Len() > 0 {
				names = append(names, b.String())
				b.Reset()
			}
		default:
			b.WriteByte(s[i])
		}
	}
	if b.Len() > 0 {
		names = append(names, b.String())
	}
	return names
}

// IsTarget reports whether a file name is a target of the engine's own, which
// is opened by its scheme or driver, and not a path.
func IsTarget(name string) bool {
	if strings.HasPrefix(name, "json:{") || strings.HasPrefix(name, "driver=") || strings.HasPrefix(name, "file.driver=") {
		return true
	}
	scheme, _, ok := strings.Cut(name, "://")
	if !ok || scheme == "" {
		return false
	}
	for i := range len(scheme) {
		c := scheme[i]
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("+-.", rune(c)) {
			return false
		}
	}
	return true
}

func parseCPUValue(_ *Option, v *value, _ int) (err error) {
	v.cpus, err = parseCPUs(v.raw)
	return err
}

// maxCPU bounds CPU and node numbers, as the kernel does.
const maxCPU = 8191

// parseCPUs reads a list of numbers and ranges: 0,4-7.
func parseCPUs(s string) ([]int, error) {
	var set [maxCPU + 1]bool
	for field := range strings.SplitSeq(s, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		a, b, isRange := strings.Cut(field, "-")
		lo, err := strconv.Atoi(strings.TrimSpace(a))
		if err != nil || lo < 0 {
			return nil, fmt.Errorf("%q is no CPU or range of CPUs", field)
		}
		hi := lo
		if isRange {
			if hi, err = strconv.Atoi(strings.TrimSpace(b)); err != nil || hi < lo {
				return nil, fmt.Errorf("%q is no range of CPUs", field)
			}
		}
		if hi > maxCPU {
			return nil, fmt.Errorf("CPU %d is beyond %d", hi, maxCPU)
		}
		for cpu := lo; cpu <= hi; cpu++ {
			set[cpu] = true
		}
	}
	var cpus []int
	for cpu, in := range set {
		if in {
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) == 0 {
		return nil, errors.New("names no CPU")
	}
	return cpus, nil
}
