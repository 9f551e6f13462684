package fiojob

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Setters of keys with a syntax of their own.

func setRW(d *draft, v value) error {
	d.RW.Kind = RWKind(v.choice.Code)
	d.RW.Every, d.RW.Stride = 1, 0
	if !v.tailed {
		return nil
	}
	n, err := parseSize(v.tail, d.Report.KBBase)
	if err != nil {
		return err
	}
	if !d.RW.Kind.Random() {
		d.RW.Stride = n
		return nil
	}
	if n < 1 {
		return errors.New("I/Os to an offset must be at least 1")
	}
	d.RW.Every = int(n)
	return nil
}

func setMixRead(d *draft, v value) error {
	d.RW.ReadPercent = int(v.ints[0])
	return nil
}

func setMixWrite(d *draft, v value) error {
	d.RW.ReadPercent = 100 - int(v.ints[0])
	return nil
}

func setBlockSize(d *draft, v value) error {
	for dir := range v.has {
		if v.has[dir] {
			d.Block.Size[dir] = BlockSize{Min: v.ints[dir], Max: v.ints[dir]}
		}
	}
	return nil
}

func setBlockRange(d *draft, v value) error {
	for dir := range v.has {
		if v.has[dir] {
			d.Block.Size[dir] = BlockSize{Min: v.ranges[dir].Min, Max: v.ranges[dir].Max}
		}
	}
	return nil
}

func setBuffered(d *draft, v value) error {
	d.RW.Direct = v.ints[0] == 0
	return nil
}

// setFilename adds to the names: as in fio, a job that names files uses those
// of the global section, too.
func setFilename(d *draft, v value) error {
	if slices.Contains(v.list, "-") {
		return errors.New("standard input and output cannot be measured")
	}
	d.Files.Names = append(slices.Clip(d.Files.Names), v.list...)
	return nil
}

func setSeed(d *draft, v value) error {
	n, err := strconv.ParseUint(v.raw, 0, 64)
	if err != nil {
		i, err := parseSize(v.raw, d.Report.KBBase)
		if err != nil {
			return err
		}
		n = uint64(i)
	}
	d.Random.Seed = n
	return nil
}

func setFileSize(d *draft, v value) error {
	d.Files.FileSize = v.ranges[0]
	return nil
}

func setSyncRange(d *draft, v value) error {
	d.Sync.Range = SyncFileRange{
		Every:      v.count,
		WaitBefore: v.mask&unix.SYNC_FILE_RANGE_WAIT_BEFORE != 0,
		Write:      v.mask&unix.SYNC_FILE_RANGE_WRITE != 0,
		WaitAfter:  v.mask&unix.SYNC_FILE_RANGE_WAIT_AFTER != 0,
	}
	return nil
}

func setEngine(d *draft, v value) error {
	d.Engine.Kind = EngineKind(v.choice.Code)
	d.Engine.Given = v.choice.Name
	return nil
}

func setMemory(d *draft, v value) error {
	if v.tailed {
		return errors.New("buffers are not backed by a file")
	}
	d.Buffer.Memory = Memory(v.choice.Code)
	return nil
}

func setCPUMask(d *draft, v value) error {
	var cpus []int
	for cpu := range 63 {
		if v.ints[0]&(1<<cpu) != 0 {
			cpus = append(cpus, cpu)
		}
	}
	d.CPU.Allowed = cpus
	return nil
}

func setNodes(d *draft, v value) error {
	if strings.TrimSpace(v.raw) == "all" {
		d.CPU.NUMANodes = nil
		return nil
	}
	nodes, err := parseCPUs(v.raw)
	d.CPU.NUMANodes = nodes
	return err
}

func setMemPolicy(d *draft, v value) error {
	p := MemPolicy{Mode: MemMode(v.choice.Code)}
	if v.tailed && strings.TrimSpace(v.tail) != "all" {
		nodes, err := parseCPUs(v.tail)
		if err != nil {
			return err
		}
		p.Nodes = nodes
	}
	switch p.Mode {
	case MemDefault, MemLocal:
		if v.tailed {
			return errors.New("takes no nodes")
		}
	case MemPrefer:
		if len(p.Nodes) != 1 {
			return errors.New("prefer takes one node: prefer:0")
		}
	case MemBind:
		if !v.tailed {
			return errors.New("bind takes nodes: bind:0-1")
		}
	case MemInterleave: // all nodes where none are named
	}
	d.CPU.MemPolicy = p
	return nil
}

func setPrio(d *draft, v value) error {
	d.CPU.Prio = int(v.ints[0])
	d.CPU.PrioGiven = true
	return nil
}

// Bits of continue_on_error.
const (
	continueRead = 1 << iota
	continueWrite
	continueVerify
)

func setContinue(d *draft, v value) error {
	d.Errors.ContinueRead = v.choice.Code&continueRead != 0
	d.Errors.ContinueWrite = v.choice.Code&continueWrite != 0
	d.Errors.ContinueVerify = v.choice.Code&continueVerify != 0
	return nil
}

// maxErrno bounds error numbers, as the kernel does.
const maxErrno = 4095

// setIgnoreError reads errors of reads, writes and verification: names or
// numbers joined by ':'. Those of a kind make the job go on after them.
func setIgnoreError(d *draft, v value) error {
	parts := strings.Split(strings.TrimSpace(v.raw), ",")
	if len(parts) > 3 {
		return errors.New("at most three lists: reads, writes, verification")
	}
	for kind, part := range parts {
		var list []syscall.Errno
		for name := range strings.SplitSeq(part, ":") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			errno, err := parseErrno(name)
			if err != nil {
				return err
			}
			list = append(list, errno)
		}
		d.Errors.Ignore[kind] = list
	}
	return nil
}

func parseErrno(name string) (syscall.Errno, error) {
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "-")); err == nil {
		if n < 1 || n > maxErrno {
			return 0, fmt.Errorf("%q is no error number", name)
		}
		return syscall.Errno(n), nil
	}
	for n := syscall.Errno(1); n <= 133; n++ {
		if unix.ErrnoName(n) == name {
			return n, nil
		}
	}
	return 0, fmt.Errorf("unknown error %q: give its number", name)
}

func setReplaySkip(d *draft, v value) error {
	var skip ReplaySkip
	fields := map[string]*bool{"read": &skip.Read, "write": &skip.Write, "trim": &skip.Trim, "sync": &skip.Sync}
	for name := range strings.SplitSeq(v.raw, ",") {
		field := fields[strings.TrimSpace(name)]
		if field == nil {
			return fmt.Errorf("unknown kind of I/O %q: read, write, trim, sync", name)
		}
		*field = true
	}
	d.Replay.Skip = skip
	return nil
}

// Codes of steadystate.
const (
	steadySlope = 1 << 4
	steadySNIA  = 1 << 5
)

func setSteady(d *draft, v value) error {
	s := &d.Steady
	s.Metric = SteadyMetric(v.choice.Code &^ (steadySlope | steadySNIA))
	s.Slope = v.choice.Code&steadySlope != 0
	s.SNIA = v.choice.Code&steadySNIA != 0
	s.Limit, s.Percent = 0, false
	if s.SNIA {
		if v.tailed {
			return errors.New("the rule of SNIA takes no limit")
		}
		return nil
	}
	if !v.tailed || v.tail == "" {
		return errors.New("the limit is missing: " + v.choice.Name + ":2%")
	}
	num, isPercent := strings.CutSuffix(strings.TrimSpace(v.tail), "%")
	s.Percent = isPercent
	var err error
	switch {
	case isPercent || s.Metric == SteadyIOPS:
		s.Limit, err = parseFloat(strings.TrimSpace(num))
	case s.Metric == SteadyLat: // microseconds where there is no unit
		t, terr := parseTime(num, unitMicros)
		s.Limit, err = float64(t), terr
	default:
		n, serr := parseSize(num, d.Report.KBBase)
		s.Limit, err = float64(n), serr
	}
	if err == nil && s.Limit < 0 {
		err = errors.New("negative limit")
	}
	return err
}

func setGTODReduce(d *draft, v value) error {
	d.Report.GTODReduce = v.ints[0] != 0
	if d.Report.GTODReduce {
		r := &d.Report
		r.DisableLat, r.DisableClat, r.DisableSlat, r.DisableBW = true, true, true, true
		r.Clat, r.Lat, r.Slat = false, false, false
	}
	return nil
}

func setPercentiles(d *draft, v value) error {
	d.Report.Percentiles = v.floats
	d.Report.PercentilePrecision = 0
	for field := range strings.SplitSeq(v.raw, ":") {
		_, frac, _ := strings.Cut(strings.TrimSpace(field), ".")
		d.Report.PercentilePrecision = max(d.Report.PercentilePrecision, len(frac))
	}
	return nil
}

func setCompress(d *draft, v value) error {
	d.Buffer.Compress = int(v.ints[0])
	return nil
}

func setDedupe(d *draft, v value) error {
	d.Buffer.Dedupe = int(v.ints[0])
	d.Buffer.Refill = true
	return nil
}

func setUnixEpoch(d *draft, v value) error {
	d.Log.AltEpoch = v.ints[0] != 0
	d.Log.Clock = unix.CLOCK_REALTIME
	return nil
}

func setPIChecks(d *draft, v value) error {
	m := &d.Engine.Metadata
	m.CheckGuard, m.CheckRef, m.CheckApp = false, false, false
	fields := map[string]*bool{"GUARD": &m.CheckGuard, "REFTAG": &m.CheckRef, "APPTAG": &m.CheckApp}
	for name := range strings.SplitSeq(v.raw, ",") {
		field := fields[strings.ToUpper(strings.TrimSpace(name))]
		if field == nil {
			return fmt.Errorf("unknown check %q: GUARD, REFTAG, APPTAG", name)
		}
		*field = true
	}
	return nil
}

func setPlacementIDs(d *draft, v value) error {
	ids, err := parseCPUs(v.raw)
	d.Engine.Placement.IDs = ids
	return err
}

func setFDP(d *draft, v value) error {
	if v.ints[0] != 0 {
		d.Engine.Placement.Kind = PlacementFDP
	}
	return nil
}
