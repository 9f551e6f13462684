package nvme_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/nvme"
)

func TestStatusText(t *testing.T) {
	for raw, want := range map[nvme.Status]string{
		0x4002: "Invalid Field in Command(0x4002)",
		0x0281: "Unrecovered Read Error(0x281)",
		0x2082: "Namespace Not Ready(0x2082)",
		0x0703: "Unknown (vendor specific status 0x03)(0x703)",
	} {
		if got := raw.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	err := fmt.Errorf("read: %w", &nvme.StatusError{Status: 0x4281, Opcode: 2})
	if !errors.Is(err, &nvme.StatusError{Status: nvme.StatusUnrecoveredRead}) || errors.Is(err, &nvme.StatusError{Status: nvme.StatusGuardCheck}) {
		t.Error("errors.Is by code")
	}
	if want := "read: I/O command 0x02: Unrecovered Read Error(0x4281), do not retry"; err.Error() != want {
		t.Errorf("%q", err)
	}
}

func TestRetryRule(t *testing.T) {
	for s, want := range map[nvme.Status]bool{
		0: false, nvme.StatusCommandInterrupted: true, nvme.StatusNamespaceNotReady: true, nvme.StatusInternalError: true,
		nvme.StatusInternalError | 0x4000: false, nvme.StatusUnrecoveredRead: false, nvme.StatusInvalidField: false,
		nvme.StatusAbortRequested: false, nvme.StatusHostAborted: false,
	} {
		if s.Retryable() != want {
			t.Errorf("%v: retryable %v", s, !want)
		}
	}
}

// Commands as the specification lays them out, byte by byte.
func TestCommandLayout(t *testing.T) {
	for _, c := range []struct {
		name string
		cmd  nvme.Command
		want map[int]uint32 // by dword; the rest is zero
	}{
		{"read", nvme.ReadWrite(nvme.OpRead, 3, 0x1_0000_0002, 9, nvme.FUA), map[int]uint32{0: 2, 1: 3, 10: 2, 11: 1, 12: 8 | 1<<30}},
		{"65536 blocks", nvme.ReadWrite(nvme.OpWriteZeroes, 1, 0, 65536, nvme.DeallocateZeros), map[int]uint32{0: 8, 1: 1, 12: 0xffff | 1<<25}},
		{"dsm", nvme.DatasetManagement(1, 256, true), map[int]uint32{0: 9, 1: 1, 10: 255, 11: 4}},
		{"copy", nvme.Copy(1, 7, 3), map[int]uint32{0: 0x19, 1: 1, 10: 7, 12: 2}},
		{"identify", nvme.Identify(2, 5, 0x1234), map[int]uint32{0: 6, 1: 5, 10: 0x12340002}},
		{"log", nvme.GetLogPage(0x81, 0xffffffff, 512, 0x1_0000_0004), map[int]uint32{0: 2, 1: 0xffffffff, 10: 127<<16 | 0x81, 12: 4, 13: 1}},
		{"large log", nvme.GetLogPage(7, 0, 1<<20, 0), map[int]uint32{0: 2, 10: 0xffff<<16 | 7, 11: 3}},
		{"get feature", nvme.GetFeatures(4, 0, nvme.SelectSaved, 5), map[int]uint32{0: 0xa, 10: 0x204, 11: 5}},
		{"set feature", nvme.SetFeatures(6, 1, true, 1), map[int]uint32{0: 9, 1: 1, 10: 6 | 1<<31, 11: 1}},
	} {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.LittleEndian, c.cmd); err != nil {
			t.Fatal(err)
		}
		if b.Len() != 64 {
			t.Fatalf("%d bytes", b.Len())
		}
		for i := range 16 {
			if got := binary.LittleEndian.Uint32(b.Bytes()[4*i:]); got != c.want[i] {
				t.Errorf("%s: dword %d is %#x, want %#x", c.name, i, got, c.want[i])
			}
		}
	}
	want, err := hex.DecodeString("000000000500000009000000000000000000000001000000ffffffff01000000")
	if err != nil {
		t.Fatal(err)
	}
	if got := nvme.EncodeRanges([]nvme.Range{{SLBA: 9, LBACount: 5}, {SLBA: 0x1ffffffff, LBACount: 1}}); !bytes.Equal(got, want) {
		t.Errorf("ranges % x", got)
	}
}

func TestRegisterFields(t *testing.T) {
	c := nvme.CAP(0x080000201e0100ff) // an SPDK target's, with bit 59 set
	if c.MQES() != 255 || !c.CQR() || c.DSTRD() != 0 || c.TO() != 30 || c.CSS() != 1 || c.MPSMIN() != 0 || c.MPSMAX() != 0 || c.CMBS() {
		t.Errorf("CAP %#x", uint64(c))
	}
	z := nvme.CMBSZ(0x00010105) // SQS, LISTS, 64 KiB units, 16 of them
	if !z.SQS() || z.CQS() || !z.LISTS() || z.Unit() != 64<<10 || z.Bytes() != 16*64<<10 {
		t.Errorf("CMBSZ: unit %d, %d bytes", z.Unit(), z.Bytes())
	}
	if s := nvme.CSTS(0x9); !s.RDY() || s.SHST() != 2 || s.CFS() || s.Removed() {
		t.Error("CSTS")
	}
	if s := nvme.VS(0x10400).String(); s != "1.4.0" {
		t.Error(s)
	}
}

// The check value of CRC-16/T10-DIF is the CRC of "123456789": 0xd0db.
func TestGuardCheckValue(t *testing.T) {
	p := nvme.Protection{Type: 1, BlockSize: 9, MetadataSize: 8}
	meta := make([]byte, 8)
	p.Generate(1, []byte("123456789"), meta, 0x01020304, 0xabcd)
	if want := []byte{0xd0, 0xdb, 0xab, 0xcd, 1, 2, 3, 4}; !bytes.Equal(meta, want) {
		t.Errorf("% x, want % x", meta, want)
	}
}

func TestProtectionFindsEveryFlip(t *testing.T) {
	for _, p := range []nvme.Protection{
		{Type: 1, BlockSize: 512, MetadataSize: 8},
		{Type: 1, BlockSize: 512, MetadataSize: 8, Extended: true},
		{Type: 2, BlockSize: 512, MetadataSize: 16, First: true},
		{Type: 1, BlockSize: 512, MetadataSize: 16, Extended: true},
	} {
		const n = 3
		data, meta := make([]byte, n*512), make([]byte, n*p.MetadataSize)
		if p.Extended {
			data, meta = make([]byte, n*(512+p.MetadataSize)), nil
		}
		for i := range data {
			data[i] = byte(i * 13)
		}
		p.Generate(n, data, meta, 100, 0x1234)
		if err := p.Check(n, data, meta, 100, 0x1234, 0xffff); err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		for i := 0; i < len(data); i += 37 {
			data[i] ^= 0x10
			if p.Check(n, data, meta, 100, 0x1234, 0xffff) == nil {
				t.Errorf("%+v: a flip at %d of the data is not found", p, i)
			}
			data[i] ^= 0x10
		}
		if p.Check(n, data, meta, 101, 0x1234, 0xffff) == nil || p.Check(n, data, meta, 100, 0x1235, 0xffff) == nil {
			t.Errorf("%+v: wrong tags pass", p)
		}
		if err := p.Check(n, data, meta, 100, 0, 0); err != nil {
			t.Errorf("%+v: application tag is checked under an empty mask", p)
		}
	}
}

// No bytes of a controller make a parser panic, and what it accepts keeps its promises.
func FuzzParsers(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 4096))
	f.Add(bytes.Repeat([]byte{0xff}, 4096))
	desc := make([]byte, 4096)
	copy(desc, []byte{3, 16})
	copy(desc[20:], []byte{1, 8})
	f.Add(desc)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := nvme.ParseIdentifyController(b); err == nil {
			if strings.HasSuffix(c.SN, " ") || len(c.SN) > 20 || len(c.MN) > 40 {
				t.Errorf("serial number %q, model %q", c.SN, c.MN)
			}
			if m := c.MaxTransfer(0); m != 0 && m < 8192 {
				t.Errorf("MDTS %d is %d bytes", c.MDTS, m)
			}
		}
		if n, err := nvme.ParseIdentifyNamespace(b); err == nil {
			if d := n.Format().DataSize(); d != 0 && (d < 512 || d&(d-1) != 0) {
				t.Errorf("block of %d bytes", d)
			}
		}
		for _, id := range nvme.ParseNamespaceList(b) {
			if id == 0 {
				t.Error("namespace 0 in a list")
			}
		}
		if ids := nvme.ParseControllerList(b); len(ids)*2 > len(b) {
			t.Error("more controllers than bytes")
		}
		if ds, err := nvme.ParseNamespaceDescriptors(b); err == nil {
			for _, d := range ds {
				if len(d.NID) == 0 {
					t.Error("empty descriptor")
				}
			}
		}
		if e := nvme.ParseErrorLog(b); len(e) != len(b)/64 {
			t.Errorf("%d error log entries in %d bytes", len(e), len(b))
		}
		_, _ = nvme.ParseSMARTLog(b)
		_, _ = nvme.ParseFirmwareLog(b)
		_, _ = nvme.ParseEffectsLog(b)
		_, _ = nvme.ParseSanitizeLog(b)
		_, _ = nvme.ParseSelfTestLog(b)
		if h, err := nvme.ParseTelemetryHeader(b); err == nil && h.Size(3) < 512 {
			t.Error("a telemetry log smaller than its header")
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add(uint16(0))
	f.Add(uint16(0x4002))
	f.Fuzz(func(t *testing.T, v uint16) {
		s := nvme.Status(v & 0x7fff)
		if s.String() == "" || (s.Retryable() && (s.OK() || s.DoNotRetry())) {
			t.Errorf("%#x: %v", v, s)
		}
	})
}
