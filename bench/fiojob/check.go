package fiojob

import (
	"fmt"
	"slices"
)

// checker settles one job: it fills in what depends on several keys, and judges
// keys against each other. Corrections fio makes without a word are warnings.
type checker struct {
	*draft
	r *resolver
	s *section
}

// rules run in this order: each may rely on what the ones before have filled in.
var rules = []func(*checker){
	(*checker).timing,
	(*checker).blocks,
	(*checker).files,
	(*checker).direction,
	(*checker).random,
	(*checker).engine,
	(*checker).depth,
	(*checker).rates,
	(*checker).think,
	(*checker).verify,
	(*checker).verifyInterval,
	(*checker).verifyPhase,
	(*checker).buffers,
	(*checker).zones,
	(*checker).replay,
	(*checker).report,
	(*checker).logs,
	(*checker).idle,
}

func (r *resolver) check(d *draft, s *section) {
	c := &checker{draft: d, r: r, s: s}
	for _, rule := range rules {
		rule(c)
	}
}

// own reports whether the job's own section has the key.
func (c *checker) own(key string) bool {
	return slices.ContainsFunc(c.Options, func(kv KV) bool { return kv.Key == key })
}

func (c *checker) has(key string) bool {
	_, ok := c.given[key]
	return ok
}

func (c *checker) conflict(key, format string, args ...any) {
	pos, ok := c.given[key]
	if !ok {
		pos = c.s.pos
	}
	c.r.errs.add(&Error{Pos: pos, Job: c.Name, Key: key, Kind: ErrConflict, Msg: fmt.Sprintf(format, args...)})
}

func (c *checker) warn(format string, args ...any) {
	c.r.warn("job %s: "+format, append([]any{c.Name}, args...)...)
}

func (c *checker) timing() {
	t := &c.Time
	if t.TimeBased && t.Runtime == 0 {
		c.warn("time_based needs a runtime: it has no effect")
		t.TimeBased = false
	}
	t.Loops = max(t.Loops, 1)
}

func (c *checker) blocks() {
	b := &c.Block
	for dir := range b.Size {
		size := &b.Size[dir]
		if len(size.Split) > 0 {
			c.fillSplit(Dir(dir), size)
		}
		if b.Align[dir] == 0 || !c.RW.Kind.Random() {
			b.Align[dir] = size.Min
		}
		if b.Align[dir] != size.Min && !c.Random.NoMap {
			c.warn("blockalign switches norandommap on")
			c.Random.NoMap = true
		}
	}
	if b.Unaligned && c.RW.Direct {
		c.warn("bs_unaligned may not work with direct=1")
	}
}

// fillSplit gives what a bssplit leaves of 100 % to its largest share, as fio
// does in effect.
func (c *checker) fillSplit(dir Dir, size *BlockSize) {
	sum, most := 0, 0
	for i, w := range size.Split {
		sum += w.Percent
		if w.Percent >= size.Split[most].Percent {
			most = i
		}
	}
	if sum == 100 {
		return
	}
	if c.RW.Kind.Uses(dir) {
		c.warn("the percentages of bssplit for %ss add up to %d: the rest goes to blocks of %d", dir, sum, size.Split[most].Size)
	}
	size.Split = slices.Clone(size.Split)
	size.Split[most].Percent += 100 - sum
}

// minBlock is the smallest block of the directions the job uses.
func (j *Job) minBlock() int64 {
	least := int64(0)
	for dir, size := range j.Block.Size {
		if (j.RW.Kind.Uses(Dir(dir)) || j.Block.SeqRand) && (least == 0 || size.Min < least) {
			least = size.Min
		}
	}
	return least
}

func (c *checker) files() {
	f := &c.Files
	if len(f.Names) > 0 {
		if c.own("nrfiles") && f.Count != len(f.Names) {
			c.warn("nrfiles=%d is not used: filename names %d", f.Count, len(f.Names))
		}
		f.Count = len(f.Names)
	}
	if f.Open > f.Count {
		c.warn("openfiles=%d is more than there are: %d", f.Open, f.Count)
	}
	if f.Open == 0 || f.Open > f.Count {
		f.Open = f.Count
	}
	if f.Size.Bytes > 0 && f.Size.Bytes < c.minBlock() {
		c.conflict("size", "%d is less than the smallest block, %d", f.Size.Bytes, c.minBlock())
	}
	if f.PreRead && f.Invalidate {
		if c.has("invalidate") {
			c.warn("pre_read switches invalidate off")
		}
		f.Invalidate = false
	}
	if c.has("direct") && c.has("buffered") && c.own("direct") && c.own("buffered") {
		direct, buffered := c.option("direct"), c.option("buffered")
		if direct == buffered {
			c.warn("direct and buffered contradict each other: direct=%d, as the later one says", b2i(c.RW.Direct))
		}
	}
}

// option is the last value of a key in the job's own section.
func (c *checker) option(key string) string {
	val := ""
	for _, kv := range c.Options {
		if kv.Key == key {
			val = kv.Value
			if kv.Bare {
				val = "1"
			}
		}
	}
	return val
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *checker) direction() {
	if c.r.plan.Run.ReadOnly && (c.RW.Kind.Writes() || c.RW.Kind.Trims()) {
		c.conflict("rw", "%s is not allowed with --readonly", c.RW.Kind)
	}
	if c.RW.Kind.TrimsFirst() && c.Block.Size[Trim].Min != c.Block.Size[Write].Min {
		c.conflict("bs", "%s needs blocks of one size for trims and writes", c.RW.Kind)
	}
}

func (c *checker) random() {
	rnd := &c.Random
	if c.has("randseed") {
		rnd.SeedGiven, rnd.Repeat = true, false
	}
	for dir := range rnd.Distribution {
		if rnd.Distribution[dir].Kind != DistRandom {
			rnd.NoMap = true // blocks cannot be both: each once, and some more often
		}
	}
}

func (c *checker) engine() {
	e := &c.Engine
	switch {
	case e.Kind == EngineNBD && e.URI == "" && len(c.Files.Names) == 0:
		c.conflict("ioengine", "nbd needs uri=, or the target as filename=nbd://…")
	case e.Kind == EngineNull && c.Files.Append:
		c.conflict("file_append", "there is no file with ioengine=null")
	}
	if e.HiPri && !c.RW.Direct && e.Kind != EngineNVMe && e.Kind != EngineUringCmd && e.Kind != EngineNull {
		c.warn("hipri needs direct=1")
	}
	if e.Uncached && c.RW.Direct {
		c.warn("uncached has no effect with direct=1")
		e.Uncached = false
	}
	if c.has("sqthread_poll_cpu") {
		e.SQPoll = true // as in fio
	}
}

func (c *checker) depth() {
	d := &c.Depth
	if c.Engine.Kind.Synchronous() && d.IODepth > 1 {
		c.warn("iodepth=%d is 1 with ioengine=%s, which waits for each request", d.IODepth, c.Engine.Given)
		d.IODepth = 1
	}
	depth := d.IODepth
	clamp := func(key string, n *int) {
		if *n > depth {
			if c.has(key) {
				c.warn("%s=%d is more than iodepth: %d", key, *n, depth)
			}
			*n = depth
		}
	}
	clamp("iodepth_batch", &d.Batch)
	clamp("iodepth_batch_complete_min", &d.CompleteMin)
	clamp("iodepth_batch_complete_max", &d.CompleteMax)
	clamp("iodepth_low", &d.Low)
	if d.Batch == 0 {
		d.Batch = depth
	}
	if d.Low == 0 {
		d.Low = depth
	}
	if d.CompleteMin > d.CompleteMax {
		if c.has("iodepth_batch_complete_max") {
			c.warn("iodepth_batch_complete_max=%d is less than iodepth_batch_complete_min: %d", d.CompleteMax, d.CompleteMin)
		}
		d.CompleteMax = d.CompleteMin
	}
	changes := c.RW.Kind.Writes() || c.RW.Kind.Trims() || len(c.Replay.Logs) > 0
	if d.Serialize && (!changes || depth == 1) {
		if c.own("serialize_overlap") {
			c.warn("serialize_overlap has no effect: requests cannot collide")
		}
		d.Serialize = false
	}
}

func (c *checker) rates() {
	r := &c.Rate
	if r.Bytes != (PerDir[int64]{}) && r.IOPS != (PerDir[int]{}) {
		c.conflict("rate_iops", "rate and rate_iops exclude each other")
	}
	if r.MinBytes != (PerDir[int64]{}) && r.MinIOPS != (PerDir[int]{}) {
		c.conflict("rate_iops_min", "rate_min and rate_iops_min exclude each other")
	}
	for dir := Read; dir <= Trim; dir++ {
		if r.Bytes[dir] > 0 && r.Bytes[dir] < r.MinBytes[dir] {
			c.conflict("rate_min", "%d for %ss is more than rate: %d", r.MinBytes[dir], dir, r.Bytes[dir])
		}
		if r.IOPS[dir] > 0 && r.IOPS[dir] < r.MinIOPS[dir] {
			c.conflict("rate_iops_min", "%d for %ss is more than rate_iops: %d", r.MinIOPS[dir], dir, r.IOPS[dir])
		}
	}
}

func (c *checker) think() {
	if t := &c.Think; t.Spin > t.Time {
		if t.Time > 0 {
			c.warn("thinktime_spin is more than thinktime: it is %v", t.Time)
		}
		t.Spin = t.Time
	}
}

func (c *checker) buffers() {
	b := &c.Buffer
	if c.Verify.Kind != VerifyNone && !c.has("refill_buffers") {
		b.Refill = true
	}
	switch {
	case b.Compress == 100:
		b.Zero, b.Compress = true, 0
	case b.Compress > 0 && !c.has("refill_buffers"):
		b.Refill = true
	}
	if !b.Pattern.IsZero() {
		b.Scramble, b.Zero = false, false
		if !c.has("refill_buffers") && b.Dedupe == 0 {
			b.Refill = c.RW.Kind.Reads() || b.Compress > 0 || c.Verify.Kind != VerifyNone
		}
	}
	if b.Zero && !c.has("scramble_buffers") {
		b.Scramble = false
	}
}

func (c *checker) zones() {
	z := &c.Zone
	switch {
	case z.Mode == ZoneNone && z.Size > 0:
		c.conflict("zonesize", "needs zonemode=strided")
	case z.Mode == ZoneStrided && z.Size == 0:
		c.conflict("zonemode", "strided needs a zonesize")
	case z.Mode == ZoneStrided && z.Skip.Zones > 0:
		c.conflict("zoneskip", "strided takes bytes, not zones")
	case z.Skip.Percent > 0:
		c.conflict("zoneskip", "takes no percentage")
	case z.Mode == ZoneStrided && c.Files.Open > 1:
		c.warn("zonemode=strided has no effect: the job uses %d files at once", c.Files.Open)
		z.Mode = ZoneNone
	}
	if z.Mode == ZoneStrided && z.Range == 0 {
		z.Range = z.Size
	}
	for key, a := range map[string]Amount{
		"size": c.Files.Size, "io_size": c.Files.IOSize, "offset": c.Files.Offset, "offset_increment": c.Files.OffsetStep,
	} {
		if a.Zones > 0 {
			c.conflict(key, "zones (z) are those of zonemode=zbd")
		}
	}
}

func (c *checker) replay() {
	if len(c.Replay.Logs) > 0 && slices.Contains(c.Replay.Logs, "-") && c.r.stdin {
		c.conflict("read_iolog", "standard input is read already, as a job file")
	}
}

func (c *checker) report() {
	r := &c.Report
	r.Clat = r.Clat && !r.DisableClat
	r.Lat = r.Lat && !r.DisableLat
	r.Slat = r.Slat && !r.DisableSlat
	if c.own("steadystate") && c.Steady.Duration == 0 {
		c.warn("steadystate has no effect without steadystate_duration")
	}
	if c.Steady.Duration > 0 && c.Steady.Interval > c.Steady.Duration {
		c.conflict("steadystate_check_interval", "%v is longer than steadystate_duration: %v", c.Steady.Interval, c.Steady.Duration)
	}
}

func (c *checker) logs() {
	l := &c.Log
	if l.Hist.On && l.HistInterval == 0 {
		c.warn("write_hist_log stays empty without log_hist_msec")
	}
	if l.BW.On && l.Interval > 0 {
		c.Report.BWInterval = min(c.Report.BWInterval, l.Interval)
	}
	if l.IOPS.On && l.Interval > 0 {
		c.Report.IOPSInterval = min(c.Report.IOPSInterval, l.Interval)
	}
}
