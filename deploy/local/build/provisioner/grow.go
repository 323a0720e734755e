package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// againAfter is how long until what could not be enlarged is tried again.
const againAfter = 10 * time.Second

// Enlarges the volumes in memory whose claims ask for more than they have, until ctx is done. A directory of the disk has no size of
// its own that could be changed, and its StorageClass does not allow it.
func growVolumes(ctx context.Context, client kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactory(client, againAfter)
	try := func(object any) {
		claim, isClaim := object.(*core.PersistentVolumeClaim)
		if !isClaim {
			return
		}
		if err := grow(ctx, client, claim); err != nil {
			fmt.Fprintf(os.Stderr, "claim %s/%s cannot be enlarged: %v\n", claim.Namespace, claim.Name, err)
		}
	}
	_, err := factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    try,
		UpdateFunc: func(_, object any) { try(object) },
	})
	if err != nil {
		return fmt.Errorf("following claims: %w", err)
	}
	factory.Start(ctx.Done())
	return nil
}

func grow(ctx context.Context, client kubernetes.Interface, claim *core.PersistentVolumeClaim) error {
	asked, has := claim.Spec.Resources.Requests[core.ResourceStorage], claim.Status.Capacity[core.ResourceStorage]
	if claim.Status.Phase != core.ClaimBound || claim.Spec.StorageClassName == nil || asked.Cmp(has) <= 0 {
		return nil
	}
	class, err := client.StorageV1().StorageClasses().Get(ctx, *claim.Spec.StorageClassName, meta.GetOptions{})
	if err != nil || class.Provisioner != name || class.Parameters[medium] != memory {
		return err
	}
	volume, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, meta.GetOptions{})
	if err != nil {
		return err
	}
	if volume.Spec.Local == nil {
		return fmt.Errorf("volume %s is not of kind local", volume.Name)
	}
	// Every mount of this file system sees it, those in pods too.
	size := fmt.Sprintf("size=%d", asked.Value())
	if err := syscall.Mount("tmpfs", volume.Spec.Local.Path, "tmpfs", syscall.MS_REMOUNT, size); err != nil {
		return fmt.Errorf("file system of volume %s: %w", volume.Name, err)
	}
	volume = volume.DeepCopy()
	volume.Spec.Capacity[core.ResourceStorage] = asked
	if _, err := client.CoreV1().PersistentVolumes().Update(ctx, volume, meta.UpdateOptions{}); err != nil {
		return err
	}
	grown := claim.DeepCopy()
	grown.Status.Capacity[core.ResourceStorage] = asked
	_, err = client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, grown, meta.UpdateOptions{})
	return err
}
