// Volumes for the local Kubernetes: a claim of a StorageClass with the provisioner "pgo.local/directory" gets a
// directory on the node that the scheduler chose for its pod, as a PersistentVolume of kind "local" that ties the pod
// to that node from then on, as a disk would.
//
// The nodes share this machine's file system, so one process makes the directories of all. The host-path provisioner
// inside kube-controller-manager does not serve: it knows no nodes, and makes directories that no user but root may
// write to, whatever a pod's fsGroup says.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	name = "pgo.local/directory"
	// The parameter of a StorageClass whose volumes have no more room than their claims ask for, and its value.
	medium, memory = "medium", "memory"
	// Claims and volumes worked on at once. The work is a mkdir; the waiting is for the API server.
	workers = 8
	// First and longest pause before a failed claim is tried again. What fails is a full or read-only disk.
	firstPause, longestPause = 200 * time.Millisecond, 10 * time.Second
)

// directories makes and removes the directory ROOT/NODE/VOLUME.
type directories struct{ root string }

func (d directories) Provision(_ context.Context, options controller.ProvisionOptions) (*core.PersistentVolume, controller.ProvisioningState, error) {
	if mode := options.PVC.Spec.VolumeMode; mode != nil && *mode != core.PersistentVolumeFilesystem {
		return nil, controller.ProvisioningFinished, fmt.Errorf("volumeMode %s is not possible here; use %s", *mode, core.PersistentVolumeFilesystem)
	}
	node := options.SelectedNodeName
	if node == "" {
		return nil, controller.ProvisioningFinished, fmt.Errorf("no node is chosen for claim %s; its StorageClass needs volumeBindingMode WaitForFirstConsumer", options.PVC.Name)
	}
	path := filepath.Join(d.root, node, options.PVName)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("directory of the node's volumes: %w", err)
	}
	// It may be there already: made by an attempt whose volume never reached the API server.
	if err := os.Mkdir(path, 0o770); err != nil && !os.IsExist(err) {
		return nil, controller.ProvisioningFinished, fmt.Errorf("directory of the volume: %w", err)
	}
	if options.StorageClass.Parameters[medium] == memory {
		size := options.PVC.Spec.Resources.Requests[core.ResourceStorage]
		if err := limit(path, size.Value()); err != nil {
			return nil, controller.ProvisioningFinished, fmt.Errorf("file system of the volume: %w", err)
		}
	}
	return volume(options, path), controller.ProvisioningFinished, nil
}

// limit gives the volume a file system of its own, in memory: it can be full while the machine's disk is not.
func limit(path string, bytes int64) error {
	// As above, of an attempt before.
	if err := syscall.Unmount(path, 0); err != nil && err != syscall.EINVAL {
		return err
	}
	return syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0770", bytes))
}

func volume(options controller.ProvisionOptions, path string) *core.PersistentVolume {
	mode := core.PersistentVolumeFilesystem
	onNode := core.NodeSelectorRequirement{
		Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{options.SelectedNodeName},
	}
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   options.PVC.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: options.PVC.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			VolumeMode:                    &mode,
			PersistentVolumeSource:        core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: path}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{
				NodeSelectorTerms: []core.NodeSelectorTerm{{MatchExpressions: []core.NodeSelectorRequirement{onNode}}},
			}},
		},
	}
}

func (d directories) Delete(_ context.Context, volume *core.PersistentVolume) error {
	if volume.Spec.Local == nil {
		return fmt.Errorf("volume %s is not of kind local", volume.Name)
	}
	path := filepath.Clean(volume.Spec.Local.Path)
	// Whoever may write volumes may write any path into them; only what is below our own folder is removed.
	if !strings.HasPrefix(path, d.root+"/") {
		return fmt.Errorf("path %s of volume %s is not below %s; it is not removed", path, volume.Name, d.root)
	}
	if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil && err != syscall.EINVAL && err != syscall.ENOENT {
		return fmt.Errorf("file system of the volume: %w", err)
	}
	return os.RemoveAll(path)
}

func run(kubeconfig, root string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	// client-go's default of 5 requests a second would make fifty claims at once wait for half a minute.
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for %s: %w", config.Host, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := growVolumes(ctx, client); err != nil {
		return err
	}
	controller.NewProvisionController(ctx, client, name, directories{root: root},
		controller.LeaderElection(false),
		controller.Threadiness(workers),
		controller.FailedProvisionThreshold(0), // 0: tries for ever
		controller.FailedDeleteThreshold(0),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstPause, longestPause)),
	).Run(ctx)
	return nil
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file that says where the API server is and who we are")
	root := flag.String("root", "", "folder in which the volumes' directories are made, absolute")
	flag.Parse()
	if *kubeconfig == "" || !filepath.IsAbs(*root) {
		fmt.Fprintln(os.Stderr, "give --kubeconfig FILE and --root /ABSOLUTE/FOLDER")
		os.Exit(2)
	}
	if err := run(*kubeconfig, filepath.Clean(*root)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
