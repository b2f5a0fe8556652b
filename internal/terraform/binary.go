package terraform

import (
	"context"
	"log/slog"
)

// Requirement is what a workspace asks of its binary. The first of Constraint, RequiredVersions and VersionFile that is
// set decides; with none, what is on PATH is taken.
type Requirement struct {
	// Engine is "terraform" (also when empty) or "tofu".
	Engine string
	// Constraint is the one in plumbline.yaml.
	Constraint string
	// RequiredVersions are the required_version constraints of the root module; all must hold.
	RequiredVersions []string
	// VersionFile is the content of .terraform-version (.opentofu-version).
	VersionFile string
}

// Binary is a Terraform or OpenTofu that was found.
type Binary struct {
	// Engine is "terraform" or "tofu".
	Engine string
	// Path is absolute.
	Path string
	// Version has no leading v.
	Version string
	// From is "PATH", "cache" or "installed".
	From string
}

// InstallerOptions configure an [Installer].
type InstallerOptions struct {
	// CacheDir holds installed binaries and remembered versions; several processes may share it. Required.
	CacheDir string
	// SearchPath is the value of PATH.
	SearchPath string
	// ReleasesURL replaces HashiCorp's release site, for a mirror of it; empty means the official one.
	ReleasesURL string
	// PublicKey is the armored key that signs the releases of ReleasesURL; empty means HashiCorp's.
	PublicKey string
	// Log may be nil.
	Log *slog.Logger
}

// Installer finds binaries, and installs what is missing.
type Installer struct{ opts InstallerOptions }

// NewInstaller returns an Installer. It touches nothing yet.
func NewInstaller(o InstallerOptions) *Installer { return &Installer{opts: o} }

// Find returns the newest binary that satisfies r.
func (i *Installer) Find(ctx context.Context, r Requirement) (Binary, error) {
	return Binary{}, errSkeleton
}
