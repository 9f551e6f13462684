// Package nvmecmd is the verb nvme: nvme-cli's sub-commands on controllers that the kernel drives, that vfio-pci has, or
// that a vfio-user server offers.
//
// A sub-command is a row of the table in table.go: its name, what help says, a struct whose tags are its options, and a
// function. The command line is read as getopt_long_only reads it, since nvme-cli does. What is printed comes from
// package show. A command that destroys data asks for the controller's serial number first (consent.go); nothing else
// differs from nvme-cli but what docs/nvme.md lists.
package nvmecmd
