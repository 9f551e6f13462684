package show

import (
	"fmt"
	"io"

	"github.com/blkbench/blkbench/nvme"
)

// dataUnit is what SMART counts transfers in. NVMe Base 2.0d §5.16.1.3, figure 207, "Data Units Read"
const dataUnit = 512 * 1000

// SMART prints the SMART / Health log of a device, for a namespace or, with 0xffffffff, for all.
func SMART(w io.Writer, device string, nsid uint32, s *nvme.SMARTLog, human bool) {
	fmt.Fprintf(w, "Smart Log for NVME device:%s namespace-id:%x\n", device, nsid)
	fmt.Fprintf(w, "critical_warning\t\t\t: %s\n", hex(uint64(s.CriticalWarning)))
	if human {
		for i, name := range []string{
			"Available Spare[0]             ", "Temp. Threshold[1]             ", "NVM subsystem Reliability[2]   ",
			"Read-only[3]                   ", "Volatile mem. backup failed[4] ", "Persistent Mem. RO[5]          ",
		} {
			fmt.Fprintf(w, "      %s: %d\n", name, s.CriticalWarning>>i&1)
		}
	}
	fmt.Fprintf(w, "temperature\t\t\t\t: %s\n", celsius(s.CompositeTemperature))
	fmt.Fprintf(w, "available_spare\t\t\t\t: %d%%\n", s.AvailableSpare)
	fmt.Fprintf(w, "available_spare_threshold\t\t: %d%%\n", s.AvailableSpareThreshold)
	fmt.Fprintf(w, "percentage_used\t\t\t\t: %d%%\n", s.PercentageUsed)
	fmt.Fprintf(w, "endurance group critical warning summary: %s\n", hex(uint64(s.EnduranceGroupWarning)))
	fmt.Fprintf(w, "Data Units Read\t\t\t\t: %s\n", units(s.DataUnitsRead))
	fmt.Fprintf(w, "Data Units Written\t\t\t: %s\n", units(s.DataUnitsWritten))
	for _, c := range []struct {
		name string
		v    nvme.Uint128
	}{
		{"host_read_commands\t\t\t", s.HostReads},
		{"host_write_commands\t\t\t", s.HostWrites},
		{"controller_busy_time\t\t\t", s.ControllerBusyTime},
		{"power_cycles\t\t\t\t", s.PowerCycles},
		{"power_on_hours\t\t\t\t", s.PowerOnHours},
		{"unsafe_shutdowns\t\t\t", s.UnsafeShutdowns},
		{"media_errors\t\t\t\t", s.MediaErrors},
		{"num_err_log_entries\t\t\t", s.ErrorLogEntries},
	} {
		fmt.Fprintf(w, "%s: %s\n", c.name, big128(c.v))
	}
	fmt.Fprintf(w, "Warning Temperature Time\t\t: %d\n", s.WarningTempTime)
	fmt.Fprintf(w, "Critical Composite Temperature Time\t: %d\n", s.CriticalTempTime)
	for i, t := range s.TemperatureSensors {
		if t != 0 {
			fmt.Fprintf(w, "Temperature Sensor %d           : %s\n", i+1, celsius(t))
		}
	}
	fmt.Fprintf(w, "Thermal Management T1 Trans Count\t: %d\n", s.ThermalMgmtT1Count)
	fmt.Fprintf(w, "Thermal Management T2 Trans Count\t: %d\n", s.ThermalMgmtT2Count)
	fmt.Fprintf(w, "Thermal Management T1 Total Time\t: %d\n", s.ThermalMgmtT1Time)
	fmt.Fprintf(w, "Thermal Management T2 Total Time\t: %d\n", s.ThermalMgmtT2Time)
}

func units(u nvme.Uint128) string {
	n, unit := siSize(u.Float64() * dataUnit)
	return fmt.Sprintf("%s (%s %s)", big128(u), n, unit)
}

// SMARTJSON is the same in JSON.
func SMARTJSON(s *nvme.SMARTLog) Object {
	o := Object{
		{"critical_warning", s.CriticalWarning},
		{"temperature", s.CompositeTemperature},
		{"avail_spare", s.AvailableSpare},
		{"spare_thresh", s.AvailableSpareThreshold},
		{"percent_used", s.PercentageUsed},
		{"endurance_grp_critical_warning_summary", s.EnduranceGroupWarning},
		{"data_units_read", big128(s.DataUnitsRead)},
		{"data_units_written", big128(s.DataUnitsWritten)},
		{"host_read_commands", big128(s.HostReads)},
		{"host_write_commands", big128(s.HostWrites)},
		{"controller_busy_time", big128(s.ControllerBusyTime)},
		{"power_cycles", big128(s.PowerCycles)},
		{"power_on_hours", big128(s.PowerOnHours)},
		{"unsafe_shutdowns", big128(s.UnsafeShutdowns)},
		{"media_errors", big128(s.MediaErrors)},
		{"num_err_log_entries", big128(s.ErrorLogEntries)},
		{"warning_temp_time", signed(s.WarningTempTime)},
		{"critical_comp_time", signed(s.CriticalTempTime)},
	}
	for i, t := range s.TemperatureSensors {
		if t != 0 {
			o.add(fmt.Sprintf("temperature_sensor_%d", i+1), t)
		}
	}
	return append(o,
		Member{"thm_temp1_trans_count", signed(s.ThermalMgmtT1Count)},
		Member{"thm_temp2_trans_count", signed(s.ThermalMgmtT2Count)},
		Member{"thm_temp1_total_time", signed(s.ThermalMgmtT1Time)},
		Member{"thm_temp2_total_time", signed(s.ThermalMgmtT2Time)})
}
