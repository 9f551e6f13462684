package fiojob

import "strings"

// verifyHeader is the room a header needs; as large as fio's.
const verifyHeader = 40

func (c *checker) verify() {
	v := &c.Verify
	if !v.Pattern.IsZero() && !c.has("verify") {
		v.Kind = VerifyPattern
	}
	if v.Kind == VerifyPattern && v.Pattern.IsZero() {
		c.conflict("verify", "pattern needs a verify_pattern")
	}
	if v.Only && c.Time.TimeBased {
		c.conflict("verify_only", "goes through the data once: it excludes time_based")
	}
	if v.Only && !c.RW.Kind.Writes() {
		c.warn("verify_only is for jobs that write; %s reads and verifies anyway", c.RW.Kind)
	}
	if v.BacklogBatch == 0 {
		v.BacklogBatch = v.Backlog
	}
	if v.Kind != VerifyNone && c.Random.NoMap && c.RW.Kind.Random() && !c.fixedBlocks() {
		c.warn("with norandommap and several block sizes, blocks that were partly overwritten are not verified")
	}
}

func (c *checker) fixedBlocks() bool {
	b := c.Block.Size
	return b[Read].Fixed() && b[Write].Fixed() && b[Trim].Fixed() && b[Read].Min == b[Write].Min
}

// verifyInterval makes the distance of headers a divisor of every block.
func (c *checker) verifyInterval() {
	v, write := &c.Verify, c.Block.Size[Write]
	if v.Kind == VerifyNone {
		return
	}
	asked := v.Interval
	switch {
	case v.Interval == 0:
		v.Interval = write.Min
	case v.Interval > write.Min:
		v.Interval = write.Min
	case c.RW.Kind.Reads() && v.Interval > c.Block.Size[Read].Min:
		v.Interval = c.Block.Size[Read].Min
	}
	if write.Min%v.Interval != 0 || write.Max%v.Interval != 0 {
		v.Interval = gcd(write.Min, write.Max)
	}
	if asked != 0 && v.Interval != asked {
		c.warn("verify_interval=%d does not divide the blocks: it is %d", asked, v.Interval)
	}
	if !v.Kind.Header() {
		return
	}
	if v.Interval < verifyHeader {
		c.conflict("verify", "blocks of %d bytes have no room for a header", v.Interval)
	} else if v.Offset+verifyHeader > v.Interval {
		c.conflict("verify_offset", "%d leaves no room for a header of %d in %d bytes", v.Offset, verifyHeader, v.Interval)
	}
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// verifyPhase warns of verification that cannot come or cannot be trusted.
func (c *checker) verifyPhase() {
	v := c.Verify
	if v.Kind == VerifyNone || !v.Do || !c.RW.Kind.Writes() {
		return
	}
	if c.NumJobs > 1 && (len(c.Files.Names) > 0 || !c.privateNames()) {
		c.warn("several clones write the same files: each would overwrite what another is going to verify")
	}
	if c.Time.TimeBased && !c.RW.Kind.Reads() && v.Backlog == 0 {
		c.warn("verification never starts: writing takes all of the runtime")
	}
}

// privateNames reports whether made-up names differ from clone to clone.
func (c *checker) privateNames() bool {
	f := strings.ToLower(c.Files.Format)
	return strings.Contains(f, "$jobname") && strings.Contains(f, "$jobnum") && strings.Contains(f, "$filenum")
}
