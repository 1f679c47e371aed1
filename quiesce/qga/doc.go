// Package qga speaks with the guest agent of QEMU (qemu-ga) over the Unix socket
// of its virtio-serial port.
//
// [Dial] makes an [Agent], whose methods are the agent's commands as
// docs/interop/qemu-ga-ref of QEMU describes them. The package promises that
//
//   - every call ends: at its context's deadline, or after [CallTimeout];
//   - an agent that is not there is found out within [Patience], as [ErrAbsent],
//     before any command was sent to it;
//   - a reply belongs to its command: the stream is brought into step with
//     guest-sync-delimited and a random id at the start and after everything that
//     may have left a reply behind, a time-out above all;
//   - what the guest sends is bounded and believed only as far as it parses: the
//     guest's owner may have replaced the agent.
//
// The socket serves one client at a time; a second one connects and is not
// answered, which is told as [ErrBusy] where the kernel shows it.
//
// libvirt owns the sockets of its domains. For them [Commands] carries the same
// methods over whatever passes a command on.
package qga
