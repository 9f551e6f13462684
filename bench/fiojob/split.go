package fiojob

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds on what a split may list, as in fio.
const (
	maxBSSplit   = 64
	maxZoneSplit = 256
)

// splitByDir hands f the part of each direction of a comma-separated split. One
// part is for all directions; the last of two is for writes and trims.
func splitByDir(raw string, f func(dir Dir, s string) error) error {
	parts := strings.Split(strings.TrimSpace(raw), ",")
	if len(parts) > 3 {
		return errors.New("at most three parts: reads, writes, trims")
	}
	for dir := Read; dir <= Trim; dir++ {
		part := parts[min(int(dir), len(parts)-1)]
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if err := f(dir, part); err != nil {
			return err
		}
	}
	return nil
}

// splitEntries cuts "a/b:c/d:" into pairs; an empty field ends the list.
func splitEntries(s string, limit int) ([][2]string, error) {
	var entries [][2]string
	for field := range strings.SplitSeq(s, ":") {
		if field = strings.TrimSpace(field); field == "" {
			break
		}
		a, b, _ := strings.Cut(field, "/")
		entries = append(entries, [2]string{a, b})
	}
	if len(entries) == 0 {
		return nil, errors.New("lists nothing")
	}
	if len(entries) > limit {
		return nil, fmt.Errorf("%d entries: at most %d", len(entries), limit)
	}
	return entries, nil
}

func percent(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil || n < 0 || n > 100 {
		return 0, fmt.Errorf("%q is no percentage", s)
	}
	return n, nil
}

// unshared marks a percentage that was left out.
const unshared = -1

// shareRest gives the entries without a percentage equal parts of what the
// others leave.
func shareRest(what string, percents []int) error {
	sum, open := 0, 0
	for _, p := range percents {
		if p == unshared {
			open++
			continue
		}
		sum += p
	}
	if sum > 100 {
		return fmt.Errorf("%s percentages add up to %d", what, sum)
	}
	if open == 0 {
		return nil
	}
	rest := 100 - sum
	for i, p := range percents {
		if p == unshared {
			percents[i] = rest / open
			rest -= rest / open
			open--
		}
	}
	return nil
}

func setBSSplit(d *draft, v value) error {
	return splitByDir(v.raw, func(dir Dir, s string) error {
		split, err := parseBSSplit(s, d.Report.KBBase)
		if err != nil {
			return err
		}
		d.Block.Size[dir] = BlockSize{Split: split}
		for i, w := range split {
			if i == 0 || w.Size < d.Block.Size[dir].Min {
				d.Block.Size[dir].Min = w.Size
			}
			d.Block.Size[dir].Max = max(d.Block.Size[dir].Max, w.Size)
		}
		return nil
	})
}

// parseBSSplit reads size/percent:size/percent. As in fio, an entry of zero
// percent counts as one without a percentage.
func parseBSSplit(s string, kbBase int) ([]Weighted, error) {
	entries, err := splitEntries(s, maxBSSplit)
	if err != nil {
		return nil, err
	}
	split := make([]Weighted, len(entries))
	percents := make([]int, len(entries))
	for i, e := range entries {
		if split[i].Size, err = parseSize(e[0], kbBase); err != nil {
			return nil, err
		}
		if split[i].Size < 1 {
			return nil, fmt.Errorf("block size %d", split[i].Size)
		}
		percents[i] = unshared
		if e[1] != "" {
			if percents[i], err = percent(e[1]); err != nil {
				return nil, err
			}
		}
		if percents[i] == 0 {
			percents[i] = unshared
		}
	}
	if err := shareRest("block size", percents); err != nil {
		return nil, err
	}
	for i := range split {
		split[i].Percent = percents[i]
	}
	return split, nil
}

func setDistribution(d *draft, v value) error {
	kind := DistributionKind(v.choice.Code)
	dist := Distribution{Kind: kind, Center: -1}
	switch kind {
	case DistRandom:
		if v.tailed {
			return errors.New("random takes no parameter")
		}
	case DistZoned, DistZonedAbs:
		if !v.tailed {
			return errors.New("the zones are missing: zoned:60/10:40/90")
		}
		return splitByDir(v.tail, func(dir Dir, s string) error {
			zones, err := parseZones(s, kind == DistZonedAbs, d.Report.KBBase)
			d.Random.Distribution[dir] = Distribution{Kind: kind, Center: -1, Zones: zones}
			return err
		})
	default:
		var err error
		dist.Shape, dist.Center, err = parseShape(kind, v)
		if err != nil {
			return err
		}
	}
	d.Random.Distribution = PerDir[Distribution]{dist, dist, dist}
	return nil
}

// shapes are the bounds and defaults of the parameter of a distribution.
var shapes = map[DistributionKind]struct {
	def  float64
	ok   func(float64) bool
	rule string
}{
	DistZipf:   {1.1, func(f float64) bool { return f > 0 && f != 1 }, "the theta of zipf must be positive and not 1"},
	DistPareto: {0.2, func(f float64) bool { return f > 0 && f < 1 }, "the power of pareto must be between 0 and 1"},
	DistNormal: {0, func(f float64) bool { return f >= 0 && f < 100 }, "the deviation of normal must be from 0 to below 100"},
}

// parseShape reads the "shape" or "shape:center" after zipf, pareto or normal.
func parseShape(kind DistributionKind, v value) (shape, center float64, err error) {
	rule := shapes[kind]
	shape, center = rule.def, -1
	if !v.tailed {
		return shape, center, nil
	}
	s, c, centered := strings.Cut(v.tail, ":")
	if shape, err = parseFloat(s); err != nil {
		return 0, 0, err
	}
	if !rule.ok(shape) {
		return 0, 0, errors.New(rule.rule)
	}
	if centered {
		if center, err = parseFloat(c); err != nil {
			return 0, 0, err
		}
		if center < 0 || center > 1 {
			return 0, 0, errors.New("the centre must be from 0 to 1")
		}
	}
	return shape, center, nil
}

// parseZones reads access/size:access/size: percentages of accesses and of the
// file, or its bytes.
func parseZones(s string, absolute bool, kbBase int) ([]AccessZone, error) {
	entries, err := splitEntries(s, maxZoneSplit)
	if err != nil {
		return nil, err
	}
	zones := make([]AccessZone, len(entries))
	access, sizes := make([]int, len(entries)), make([]int, len(entries))
	for i, e := range entries {
		if access[i], err = percent(e[0]); err != nil {
			return nil, err
		}
		sizes[i] = unshared
		switch {
		case e[1] == "":
		case absolute:
			if zones[i].Bytes, err = parseSize(e[1], kbBase); err != nil {
				return nil, err
			}
			if zones[i].Bytes < 0 {
				return nil, errors.New("negative size")
			}
		default:
			if sizes[i], err = percent(e[1]); err != nil {
				return nil, err
			}
			if sizes[i] == 0 {
				sizes[i] = unshared
			}
		}
	}
	sum := 0
	for _, a := range access {
		sum += a
	}
	if sum != 100 {
		return nil, fmt.Errorf("the percentages of accesses add up to %d, not 100", sum)
	}
	if !absolute {
		if err := shareRest("size", sizes); err != nil {
			return nil, err
		}
	}
	for i := range zones {
		zones[i].Access = access[i]
		if !absolute {
			zones[i].Percent = sizes[i]
		}
	}
	return zones, nil
}

func setFileService(d *draft, v value) error {
	s := FileService{Kind: FileServiceKind(v.choice.Code), Every: 1, Center: -1}
	kinds := map[FileServiceKind]DistributionKind{ServiceZipf: DistZipf, ServicePareto: DistPareto, ServiceNormal: DistNormal}
	var err error
	if kind, shaped := kinds[s.Kind]; shaped {
		s.Shape, s.Center, err = parseShape(kind, v)
	} else if v.tailed {
		s.Every, err = strconv.Atoi(v.tail)
		if err == nil && s.Every < 1 {
			err = errors.New("I/Os before a switch must be at least 1")
		}
	}
	d.Files.Service = s
	return err
}

// Priority classes and levels of ioprio_set(2).
const (
	maxPrioClass = 3
	maxPrioLevel = 7
)

func setCmdPrioSplit(d *draft, v value) error {
	return splitByDir(v.raw, func(dir Dir, s string) error {
		if dir == Trim {
			return nil
		}
		split, err := parsePrioSplit(s, d.Report.KBBase)
		d.Engine.CmdPrio.Split[dir] = split
		return err
	})
}

// parsePrioSplit reads size/percent or size/percent/class/level, joined by ':'.
func parsePrioSplit(s string, kbBase int) ([]PrioSplit, error) {
	var split []PrioSplit
	for field := range strings.SplitSeq(s, ":") {
		if field = strings.TrimSpace(field); field == "" {
			break
		}
		parts := strings.Split(field, "/")
		if len(parts) == 3 || len(parts) > 4 {
			return nil, fmt.Errorf("%q is neither size/percent nor size/percent/class/level", field)
		}
		p := PrioSplit{Class: -1, Level: -1}
		var err error
		if p.Size, err = parseSize(parts[0], kbBase); err != nil {
			return nil, err
		}
		if len(parts) > 1 && parts[1] != "" {
			if p.Percent, err = percent(parts[1]); err != nil {
				return nil, err
			}
		}
		if len(parts) == 4 {
			if p.Class, err = boundedInt(parts[2], 0, maxPrioClass, "priority class"); err != nil {
				return nil, err
			}
			if p.Level, err = boundedInt(parts[3], 0, maxPrioLevel, "priority level"); err != nil {
				return nil, err
			}
		}
		if p.Percent > 0 {
			split = append(split, p)
		}
	}
	if len(split) > maxBSSplit {
		return nil, fmt.Errorf("%d entries: at most %d", len(split), maxBSSplit)
	}
	slices.SortStableFunc(split, func(a, b PrioSplit) int { return int(min(1, max(-1, a.Size-b.Size))) })
	for i, sum := 0, 0; i < len(split); i++ {
		if i > 0 && split[i].Size != split[i-1].Size {
			sum = 0
		}
		if sum += split[i].Percent; sum > 100 {
			return nil, fmt.Errorf("the percentages of size %d add up to %d", split[i].Size, sum)
		}
	}
	return split, nil
}

func boundedInt(s string, lo, hi int, what string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%q is no %s: %d to %d", s, what, lo, hi)
	}
	return n, nil
}
