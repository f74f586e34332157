package sim

// fault is a class of what goes wrong. A new one is a constant, a row of the catalogue
// and a function in a file of its own (fault_*.go).
type fault int

const (
	faultLoss fault = iota
	faultDup
	faultReorder
	faultDelay
	faultOneWay
	faultCut
	faultRing
	faultSwizzle
	faultReset
	faultPause
	faultKill
	faultPower
	faultPowerAll
	faultStop
	faultSlowDisk
	faultStall
	faultSyncError
	faultTorn
	faultBitFlip
	faultZeroSector
	faultNoSpace
	faultWipe
	faultClockStep
	faultDrift
	faultMadClock
	faultAdd
	faultRemove
	faultReplace
	faultTransfer
	faultTwin
	faultRollback
	faultClone
	faultVersion
	faultTinySegments
	faultTinySnapshots
	faults
)

// kind says how a fault strikes.
type kind struct {
	name string
	// blow strikes once and reports whether it could; nil: the fault is a setting of
	// the seed, drawn with its options.
	blow func(w *world) bool
}

var catalogue [faults]kind

// A fault's function may reach the catalogue (a machine that starts again does).
func init() {
	catalogue = [faults]kind{
		faultLoss:          {"loss", (*world).lossBurst},
		faultDup:           {"duplicate", nil},
		faultReorder:       {"reorder", nil},
		faultDelay:         {"long delay", nil},
		faultOneWay:        {"one-way cut", (*world).oneWay},
		faultCut:           {"symmetric cut", (*world).cutOff},
		faultRing:          {"ring cut", (*world).ring},
		faultSwizzle:       {"swizzle-clog", (*world).swizzle},
		faultReset:         {"reset", (*world).reset},
		faultPause:         {"pause", (*world).pause},
		faultKill:          {"kill -9", (*world).killOne},
		faultPower:         {"power loss", (*world).powerOne},
		faultPowerAll:      {"power loss of all", (*world).powerAll},
		faultStop:          {"orderly stop", (*world).stopOne},
		faultSlowDisk:      {"slow disk", nil},
		faultStall:         {"disk stall", (*world).stall},
		faultSyncError:     {"fsync error", (*world).syncError},
		faultTorn:          {"torn write", (*world).torn},
		faultBitFlip:       {"bit flip", (*world).bitFlip},
		faultZeroSector:    {"zeroed sector", (*world).zeroSector},
		faultNoSpace:       {"ENOSPC", (*world).noSpace},
		faultWipe:          {"disk wiped", (*world).wipeOne},
		faultClockStep:     {"clock step", (*world).clockStep},
		faultDrift:         {"clock drift", (*world).drift},
		faultMadClock:      {"mad leader clock", (*world).madClock},
		faultAdd:           {"member added", (*world).addMember},
		faultRemove:        {"member removed", (*world).removeMember},
		faultReplace:       {"member replaced", (*world).replaceMember},
		faultTransfer:      {"leader transfer", (*world).transfer},
		faultTwin:          {"two processes", (*world).twin},
		faultRollback:      {"directory rolled back", (*world).rollBack},
		faultClone:         {"older copy started", (*world).clone},
		faultVersion:       {"other version", (*world).changeVersion},
		faultTinySegments:  {"tiny segments", nil},
		faultTinySnapshots: {"tiny snapshots", nil},
	}
}

func (f fault) String() string { return catalogue[f].name }
