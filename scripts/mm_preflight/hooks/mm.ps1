Remove-Item Alias:mm -Force -ErrorAction Ignore
function mm {
    $command = $null; $reset = $false
    foreach ($arg in $args) {
        if ($arg -cin '-h', '--help') { $reset = $false; break }
        elseif ($null -eq $command) { if ("$arg" -notlike '-*') { $command = "$arg" } }
        elseif ($command -ceq 'embedding-reset' -and
            $arg -cin 'apply-current', '--mode=apply-current') { $reset = $true }
    }
    if ($reset) {
        $check = Get-Command mm-preflight -CommandType Application -ErrorAction Ignore
        if (-not $check) {
            [Console]::Error.WriteLine("mm-preflight: unknown, refused: mm-preflight is not on PATH`n  install it again, or take its hook out of your shell's start-up file")
            $global:LASTEXITCODE = 2; return
        }
        & @($check)[0]
        if ($LASTEXITCODE -ne 0) { return }
    }
    $program = @(Get-Command mm -CommandType Application -ErrorAction Stop)[0]
    if ($MyInvocation.ExpectingInput) { $input | & $program @args } else { & $program @args }
}
Remove-Item Alias:memtomem -Force -ErrorAction Ignore
function memtomem {
    $command = $null; $reset = $false
    foreach ($arg in $args) {
        if ($arg -cin '-h', '--help') { $reset = $false; break }
        elseif ($null -eq $command) { if ("$arg" -notlike '-*') { $command = "$arg" } }
        elseif ($command -ceq 'embedding-reset' -and
            $arg -cin 'apply-current', '--mode=apply-current') { $reset = $true }
    }
    if ($reset) {
        $check = Get-Command mm-preflight -CommandType Application -ErrorAction Ignore
        if (-not $check) {
            [Console]::Error.WriteLine("mm-preflight: unknown, refused: mm-preflight is not on PATH`n  install it again, or take its hook out of your shell's start-up file")
            $global:LASTEXITCODE = 2; return
        }
        & @($check)[0]
        if ($LASTEXITCODE -ne 0) { return }
    }
    $program = @(Get-Command memtomem -CommandType Application -ErrorAction Stop)[0]
    if ($MyInvocation.ExpectingInput) { $input | & $program @args } else { & $program @args }
}
