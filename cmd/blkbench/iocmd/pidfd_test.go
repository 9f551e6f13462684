package iocmd

import "golang.org/x/sys/unix"

func unixPidfd(pid int) (int, error) { return unix.PidfdOpen(pid, 0) }

// waitPidfd waits until the process has ended.
func waitPidfd(fd int) error {
	defer unix.Close(fd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR { //nolint:errorlint // a system call's own value
			return err
		}
	}
}
