// Package notify tells people what they should know of, by webhook and e-mail: a job that failed or
// warned, a machine whose point is older than its policy allows, a vault that is nearly full, damage, and that all
// is well again. And it tells a heartbeat URL that all is well, so that silence is noticed.
//
// A [Notifier] is made of a [Config], which the daemon's configuration embeds. [Notifier.Watch] follows jobs and
// the status; [Notifier.Test] sends a message at once.
//
// Promises:
//
//   - Nothing that is watched ever waits: events go into a bounded queue, and when that is full the oldest are
//     counted instead, which the next message says.
//   - Every attempt to send has a deadline, and is repeated a few times, later each time.
//   - Of a trouble that lasts, one message is sent, again when Repeat has passed, and one when it is over, also
//     across restarts: what was told is kept in a small file of the state directory. Losing it repeats messages, no more.
//   - Secrets come from files, and are in no log, error or message.
//
// The library shoutrrr was looked at for this and left: its webhooks and e-mails have no deadline once a server
// has answered the connection, and its errors name the URL with its secret. The format slack is what
// Slack, Mattermost, Rocket.Chat, Google Chat and (at /slack) Discord read, the format text what ntfy reads.
package notify
