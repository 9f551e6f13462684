// Package guest boots a small Linux in QEMU and runs test binaries and programs in it: the place where there are real
// vfio-pci NVMe controllers, an IOMMU, kernel modules and devices that can be pulled out, on any machine and without
// privileges.
//
// The kernel is Debian's cloud kernel, fetched once with apt-get and unpacked into the user's cache folder; nothing
// is installed. The root is an initramfs made on the fly: a static init (the program in ./init), kernel modules, test
// binaries, and any program of the host with its libraries (Image.Program). QEMU emulates the processor, so figures
// from a guest are good for ratios within one boot and for nothing else.
//
// On the host, Run boots a Machine, runs its Jobs in order and reports every test of a Go test binary as a subtest.
// In the guest, a test calls Require first (it skips anywhere else), finds controllers by serial number with
// Controller, and can ask the host for a monitor command with Host: pull a device out, reset the machine.
//
// One serial line carries the kernel's console, a second the protocol between init and host: one JSON object a line.
package guest
