package quiesce

// WindowsNote is what the owner of a Windows guest has to know before it is
// frozen. The setting is read by agents since QEMU 8.0 (qga/vss-win32/requester.cpp), 5 being VSS_BT_COPY.
const WindowsNote = `freezing a Windows guest is a full backup in the eyes of VSS: SQL Server, Exchange and others then begin a new chain of
log backups, or cut their logs. Where another tool backs these up, have the agent make copies instead, in the guest:
reg add "HKLM\SYSTEM\CurrentControlSet\Services\QEMU Guest Agent VSS Provider" /v VssOption /t REG_DWORD /d 5
(agents since QEMU 8.0 obey it)`
