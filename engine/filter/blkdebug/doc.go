// Package blkdebug injects errors, as QEMU's blkdebug does: a protocol-like layer below a format that is told of the format's steps by name
// ([engine.Event]) and decides by rules which requests fail from then on.
//
//   - An event makes the rules that name it, and whose state is the machine's, the active ones; they stay active until another event with
//     rules comes. A request is refused by the first active rule whose sector and kind of request it matches; a rule that is for once is
//     gone then.
//   - A set-state rule moves the state machine, which starts in state 1, after all rules of the event were looked at. A rule with state 0 is for every
//     state.
//   - A breakpoint holds the step that announces its event until it is resumed, see [engine.Breakpointer].
//   - The limits (align, max-transfer, opt-write-zero, …) make the layer a device that has them.
//
// The node is opaque: nothing goes past it, and a format directly above it does all of its work by its blocking methods, so that the same
// steps are announced in both planes.
//
// Where it differs from QEMU: nothing is printed when a request is held or resumed, and immediately makes no difference, since an error
// is never delivered inside another request.
package blkdebug
