package config

// DefaultPath is where the file lies unless a command says otherwise.
const DefaultPath = "/etc/holdfast/config.yaml"

// Config is how a daemon works. Every text in it was checked by Read.
type Config struct {
	State          string   `yaml:"state"`           // folder of what this host remembers
	Run            string   `yaml:"run"`             // folder of the socket, and of what tells commands of this daemon
	Group          string   `yaml:"group"`           // whose members may use the socket; empty: nobody but root and the daemon's user
	GroupRole      string   `yaml:"group-role"`      // of its members, for all machines: none, viewer, restorer, operator or admin
	Vaults         []Vault  `yaml:"vaults"`          // that it owns
	Listen         Listen   `yaml:"listen"`          // beside the socket
	RestoreFolders []string `yaml:"restore-folders"` // below which clients may have files restored
	Mount          Mount    `yaml:"mount"`
	Scratch        Scratch  `yaml:"scratch"`
	Jobs           Jobs     `yaml:"jobs"`
	Memory         Size     `yaml:"memory"` // for buffers of all backups together
	Log            Log      `yaml:"log"`

	// MetricsTextfile is written each minute, for the textfile collector of node_exporter; empty: none is.
	MetricsTextfile string `yaml:"metrics-textfile,omitempty"`

	// Notifications are read by whoever sends them; see Read.
	Notifications any `yaml:"notifications,omitempty"`
}

// Vault is one that the daemon owns, with how it is opened and looked after.
type Vault struct {
	Path           string   `yaml:"path"`
	Name           string   `yaml:"name,omitempty"`            // that it is told by; empty: its own
	PassphraseFile string   `yaml:"passphrase-file,omitempty"` // whose first line opens it
	Identity       []string `yaml:"identity,omitempty"`        // files of age identities that open it
	Credential     string   `yaml:"credential,omitempty"`      // of systemd, that holds the passphrase
	MinFree        Size     `yaml:"min-free,omitempty"`        // that stays free there; empty: as usual; none: nothing
	AtOnce         int      `yaml:"at-once"`                   // jobs
	Sweep          When     `yaml:"sweep"`
	Check          When     `yaml:"check"`
	Verify         When     `yaml:"verify"`    // reads back the percentage that policies ask for
	Prune          When     `yaml:"prune"`     // beside what is pruned after each backup
	Catalogue      When     `yaml:"catalogue"` // lists the names of guests' files at points of the last 31 days, for searches
	Timezone       string   `yaml:"timezone"`
}

// Listen says where the interface is served beside the socket.
type Listen struct {
	TCP         string `yaml:"tcp,omitempty"` // address and port; empty: nowhere
	Certificate string `yaml:"certificate,omitempty"`
	Key         string `yaml:"key,omitempty"`
}

// Mount says where all points of all vaults are mounted.
type Mount struct {
	At         string `yaml:"at,omitempty"` // a folder, with one below it for each vault; empty: nowhere
	AllowOther bool   `yaml:"allow-other,omitempty"`
	Group      string `yaml:"group,omitempty"`
}

// Scratch says where what guests overwrite during a backup is kept, unless their
// protection says otherwise.
type Scratch struct {
	Folder string `yaml:"folder,omitempty"` // empty: as usual
	Cap    Size   `yaml:"cap,omitempty"`    // that all backups may use there together
	Free   Size   `yaml:"free,omitempty"`   // that stays free there
}

// Jobs bounds what is done at a time, and what is remembered of it.
type Jobs struct {
	AtOnce        int  `yaml:"at-once"`    // of this host
	ReadDepth     int  `yaml:"read-depth"` // reads of one disk that are under way
	ShutdownLimit Span `yaml:"shutdown-limit"`
	History       Span `yaml:"history"`      // how long those that are over are remembered
	HistoryMost   int  `yaml:"history-most"` // and how many
}

// Log says how the daemon tells what happens, on standard error.
type Log struct {
	Format string `yaml:"format"` // text or json
	Level  string `yaml:"level"`  // debug, info, warn or error
}

// usualGroup is that of the package.
const usualGroup = "holdfast"

// defaults is what a file that says nothing means, on a host of a time zone.
func defaults(zone string) Config {
	if zone == "" {
		zone = "UTC"
	}
	return Config{
		State: "/var/lib/holdfast", Run: "/run/holdfast", Group: usualGroup, GroupRole: "viewer", Vaults: []Vault{}, RestoreFolders: []string{},
		Jobs:   Jobs{AtOnce: 2, ReadDepth: 8, ShutdownLimit: "1m", History: "90d", HistoryMost: 20_000},
		Memory: "128MiB", Log: Log{Format: "text", Level: "info"},
	}
}

// usualVault is what a vault means of which nothing is said but its path.
func usualVault(zone string) Vault {
	return Vault{AtOnce: 2, Sweep: "weekly on sunday at 03:00", Check: "weekly on saturday at 03:00", Verify: "daily at 04:00", Prune: "daily at 02:30", Catalogue: "daily at 05:00", Timezone: zone}
}
