package nvmecmd

import (
	"context"
	"fmt"
	"time"

	"github.com/blkbench/blkbench/nvme"
)

type selfTestOptions struct {
	NSID uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace to test as well; 0 for the controller alone, 0xffffffff for all" default:"0xffffffff"`
	Code uint8  `long:"self-test-code" short:"s" arg:"NUM" help:"0 show what runs, 1 short, 2 extended, 0xe vendor specific, 0xf abort"`
	Wait bool   `long:"wait" short:"w" help:"wait until the test has ended"`
}

// Self-test codes. NVMe Base 2.0d §5.10, figure 167
const (
	selfTestShow     = 0
	selfTestShort    = 1
	selfTestExtended = 2
	selfTestVendor   = 0xe
	selfTestAbort    = 0xf
)

func deviceSelfTest(ctx context.Context, c *call, o *selfTestOptions) error {
	if o.Code == selfTestShow {
		s, err := c.selfTestLog(ctx)
		if err != nil {
			return err
		}
		if s.Current == 0 {
			fmt.Fprintln(c.out, "no self test running")
			return nil
		}
		fmt.Fprintf(c.out, "%s: progress %d%%\n", testKind(s.Current), s.Completion)
		if o.Wait {
			return c.waitTested(ctx)
		}
		return nil
	}
	switch o.Code {
	case selfTestShort, selfTestExtended, selfTestVendor, selfTestAbort:
	default:
		return usagef("invalid self-test-code:%#x", o.Code)
	}
	cmd := nvme.Command{Opcode: nvme.OpDeviceSelfTest, NSID: o.NSID, CDW10: uint32(o.Code)}
	if _, err := c.dev.Commands.Admin(ctx, &cmd, nil); err != nil {
		return err
	}
	if o.Code == selfTestAbort {
		fmt.Fprintln(c.out, "Aborting device self-test operation")
		return nil
	}
	fmt.Fprintf(c.out, "%s Device self-test started\n", testKind(o.Code))
	// The reset at the end of this process would abort a short test. NVMe Base 2.0d §8.6.1
	if o.Wait || c.dev.Controller != nil {
		return c.waitTested(ctx)
	}
	return nil
}

func testKind(code uint8) string {
	switch code {
	case selfTestShort:
		return "Short"
	case selfTestExtended:
		return "Extended"
	default:
		return "Vendor specific"
	}
}

func (c *call) selfTestLog(ctx context.Context) (*nvme.SelfTestLog, error) {
	b, err := c.log(ctx, nvme.LIDSelfTest, everyNamespace, nvme.SelfTestLogSize)
	if err != nil {
		return nil, err
	}
	return nvme.ParseSelfTestLog(b)
}

// selfTestPoll is how often the progress is looked at.
const selfTestPoll = 500 * time.Millisecond

// selfTestResults are the results of a test. NVMe Base 2.0d §5.16.1.7, figure 213
var selfTestResults = []string{
	"completed without error", "aborted by a Device Self-test command", "aborted by a Controller Level Reset",
	"aborted since a namespace was removed", "aborted by a Format NVM command", "a fatal error occurred",
	"a segment failed, it is not known which", "one or more segments failed", "aborted for an unknown reason",
	"aborted by a sanitize operation",
}

// waitTested follows a test to its end and reports the newest result.
func (c *call) waitTested(ctx context.Context) error {
	t := time.NewTicker(selfTestPoll)
	defer t.Stop()
	for last := -1; ; {
		s, err := c.selfTestLog(ctx)
		if err != nil {
			return err
		}
		if s.Current == 0 {
			r := s.Results[0].Result
			text := fmt.Sprintf("result %#x", r)
			if int(r) < len(selfTestResults) {
				text = selfTestResults[r]
			}
			if r != 0 {
				return fmt.Errorf("the self-test has failed: %s", text)
			}
			fmt.Fprintf(c.out, "Device self-test %s\n", text)
			return nil
		}
		if int(s.Completion) != last {
			last = int(s.Completion)
			c.errorf("self-test: %d %%", last)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}
