package service

// VSSWarning is what there is to know of backups of Windows guests.
const VSSWarning = `the guest is Windows: freezing it takes a full VSS backup, which cuts the log chains of SQL Server databases in it. To have copies instead, set HKLM\SYSTEM\CurrentControlSet\Services\QEMU Guest Agent VSS Provider, value VssOption (DWORD) to 5 in the guest, and restart its agent; --accept-vss ends this warning`
