package nvmecmd

import (
	"context"
	"fmt"
)

// commands is the table of sub-commands. It is a function since help, one of its rows, refers to it.
func commands() []command {
	return []command{
		plain("list", "[<device>…]", "List all NVMe devices and namespaces on machine",
			"Lists the controllers that the kernel drives and those that vfio-pci has, or only the devices that are named; vfio-user "+
				"servers are listed when they are named. A controller of vfio-pci that another process has open is reported and left out.", list),
		plain("bind", "<address>…", "Give a controller to vfio-pci",
			"Takes a controller (PCI address, or /dev/nvme0) away from the kernel's driver, so that it can be driven from userspace. A "+
				"controller with a namespace that is mounted, swap space or the root is never taken; one that is held, or part of RAID, LVM or "+
				"ZFS, or that shares its IOMMU group, only when --allow names the reason. unbind undoes it.", bind),
		plain("unbind", "<address>…", "Give a controller back to the driver it came from",
			"Undoes bind: the controller goes back to the driver that had it, and its driver_override is what it was.", unbind),
		define("id-ctrl", "Send NVMe Identify Controller", "Shows the Identify Controller data structure.", idCtrl),
		define("id-ns", "Send NVMe Identify Namespace, display structure", "Shows the Identify Namespace data structure.", idNS),
		define("list-ns", "Send NVMe Identify List, display structure", "Lists the identifiers of the controller's namespaces.", listNS),
		define("show-regs", "Shows the controller registers",
			"Shows the controller's registers. Of a controller that the kernel drives they can be read only where the kernel lets them be "+
				"mapped (iomem=relaxed).", showRegs),
		define("smart-log", "Retrieve SMART Log, show it", "Shows the SMART / Health Information log.", smartLog),
		define("error-log", "Retrieve Error Log, show it", "Shows the newest entries of the Error Information log.", errorLog),
		define("fw-log", "Retrieve FW Log, show it", "Shows the Firmware Slot Information log.", fwLog),
		define("effects-log", "Retrieve Command Effects Log, show it",
			"Shows which commands the controller supports, and what they affect, for each of its I/O command sets.", effectsLog),
		define("sanitize-log", "Retrieve sanitize log, show it", "Shows how far a sanitize operation is, or how the last one ended.", sanitizeLog),
		define("telemetry-log", "Retrieve FW Telemetry log write to file", "Writes a telemetry log to a file.", telemetryLog),
		define("get-log", "Generic NVMe get log, returns log in raw format", "Shows any log page as bytes.", getLog),
		define("get-feature", "Get feature and show the resulting value", "Shows a feature, or all features that the controller knows.", getFeature),
		define("set-feature", "Set a feature and show the resulting value",
			"Changes a feature. A controller that is driven from userspace is reset when the command ends: what is not saved (-s) is forgotten "+
				"then.", setFeature),
		define("format", "Format namespace with new block format",
			"Formats a namespace: erases its data, and can change its block size, metadata and protection. Asks for the serial number.", format),
		define("sanitize", "Submit a sanitize command",
			"Erases every namespace of the NVM subsystem, so that nothing can be recovered. Asks for the serial number. With --wait it "+
				"shows the progress and proves the result: by the sanitize log, which must tell of this very command, and by blocks that were "+
				"read before.", sanitize),
		define("device-self-test", "Perform the necessary tests to observe the performance",
			"Starts, aborts or shows a device self-test. On a controller that is driven from userspace it is always waited for, since the "+
				"reset at the end would abort it.", deviceSelfTest),
		define("fw-download", "Download new firmware", "Sends a firmware image to the controller, for fw-commit.", fwDownload),
		define("fw-commit", "Verify and commit firmware to a specific slot", "Verifies a firmware image that was downloaded and puts it into a slot.", fwCommit),
		define("create-ns", "Creates a namespace with the provided parameters",
			"Creates a namespace and prints its identifier; attach-ns attaches it.", createNS),
		define("delete-ns", "Deletes a namespace from the controller", "Deletes a namespace with its data. Asks for the serial number.", deleteNS),
		define("attach-ns", "Attaches a namespace to requested controller(s)", "Attaches a namespace to controllers.", attachNS),
		define("detach-ns", "Detaches a namespace from requested controller(s)", "Detaches a namespace from controllers; its data stays.", detachNS),
		define("read", "Submit a read command, return results", "Reads blocks to the standard output or a file.", read),
		define("write", "Submit a write command, return results",
			"Writes blocks from the standard input or a file. Asks for the serial number.", write),
		define("flush", "Submit a Flush command, return results", "Makes everything that was written durable.", flush),
		define("verify", "Submit a verify command, return results", "Has the controller read and check blocks without a transfer.", verify),
		define("compare", "Submit a Compare command, return results", "Compares blocks with the standard input or a file.", compare),
		define("copy", "Submit a Simple Copy command, return results",
			"Has the controller copy ranges of blocks to one place. Asks for the serial number.", copyBlocks),
		define("dsm", "Submit a Data Set Management command, return results",
			"Tells the controller about ranges of blocks. Deallocating (-d) asks for the serial number.", dsm),
		define("write-zeroes", "Submit a write zeroes command, return results", "Zeroes blocks without a transfer. Asks for the serial number.", writeZeroes),
		define("write-uncor", "Submit a write uncorrectable command, return results",
			"Makes blocks unreadable until they are written again. Asks for the serial number.", writeUncor),
		define("reset", "Resets the controller", "Resets the controller.", reset),
		define("admin-passthru", "Submit an arbitrary admin command, return results",
			"Sends any admin command. One that may destroy data asks for the serial number.", adminPassthru),
		define("io-passthru", "Submit an arbitrary IO command, return results",
			"Sends any I/O command. One that may destroy data asks for the serial number.", ioPassthru),
		plain("version", "", "Shows the program version", "Shows the program version.", showVersion),
		plain("help", "[<command>]", "Display this help", "Lists the sub-commands, or explains one.", showHelp),
	}
}

type noOptions struct{}

func showVersion(_ context.Context, c *call, _ *noOptions) error {
	fmt.Fprintf(c.out, "nvme version 2.3 (blkbench %s)\n", c.env.Version)
	return nil
}

func showHelp(_ context.Context, c *call, _ *noOptions) error {
	if len(c.args) == 0 {
		Help(c.out, c.env.Prog)
		return nil
	}
	cmd := lookup(c.args[0])
	if cmd == nil {
		return usagef("Invalid sub-command '%s'", c.args[0])
	}
	cmd.usage(c.out, c.env.Prog)
	return nil
}
