package show

import (
	"fmt"
	"io"

	"github.com/blkbench/blkbench/nvme"
)

func printPowerState(w io.Writer, i int, p *nvme.PowerState) {
	operational := ""
	if p.Flags&2 != 0 {
		operational = "non-"
	}
	power := fmt.Sprintf("%.2fW", float64(p.MP)/100)
	if p.Flags&1 != 0 { // MXPS: the unit is 0.1 mW
		power = fmt.Sprintf("%.4fW", float64(p.MP)/10000)
	}
	fmt.Fprintf(w, "ps   %4d : mp:%s %soperational enlat:%d exlat:%d rrt:%d rrl:%d\n"+
		"            rwt:%d rwl:%d idle_power:%s active_power:%s\n"+
		"            active_power_workload:%s\n", i, power, operational, signed(p.ENLAT), signed(p.EXLAT), p.RRT, p.RRL,
		p.RWT, p.RWL, scaledPower(p.IDLP, p.IPS), scaledPower(p.ACTP, p.APWS>>6), workload(p.APWS&7))
}

// scaledPower is a power with its scale: 1 is 0.1 mW, 2 is 10 mW. NVMe Base 2.0d §5.17.2.1, figure 276, "IPS"
func scaledPower(v uint16, scale uint8) string {
	switch scale {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf("%.4fW", float64(v)/10000)
	case 2:
		return fmt.Sprintf("%.2fW", float64(v)/100)
	default:
		return "reserved"
	}
}

// workload is what the active power was measured with. NVMe Base 2.0d §8.15.3
func workload(v uint8) string {
	switch v {
	case 0:
		return "-"
	case 1:
		return "1MiB 32 RW, 30s idle"
	case 2:
		return "80K 128KiB SW"
	default:
		return "reserved"
	}
}
