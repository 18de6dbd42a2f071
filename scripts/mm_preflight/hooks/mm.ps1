# mm asks mm-preflight before it drops vectors. Anything else goes straight on.
# What mm was stays what it was: an alias for another program is left alone; PowerShell itself finds
# the program, or calls an alias for memtomem or a function of your own as it is, between two checks.
function __mm_preflight_ask {
    $check = Get-Command mm-preflight -CommandType Application -ErrorAction Ignore | Select-Object -First 1
    if ($check) { & $check | Out-Host } else { [Console]::Error.WriteLine('mm-preflight: refused, mm-preflight is not on PATH; install it again'); $global:LASTEXITCODE = 2 }
}
function __mm_preflight {
    $name = $MyInvocation.MyCommand.Name
    $asks = "$args" -clike '*embedding-reset*apply-current*'
    if ($asks) { __mm_preflight_ask; if ($LASTEXITCODE) { return } }
    $program = Get-Command "__mm_preflight_own_$name" -ErrorAction Ignore
    if (-not $program) { $program = Get-Command $name -CommandType 'Application, ExternalScript' -ErrorAction Ignore | Select-Object -First 1 }
    if (-not $program) { [Console]::Error.WriteLine("mm-preflight: refused, $name is not on PATH; install it again"); $global:LASTEXITCODE = 2; return }
    if ($MyInvocation.ExpectingInput) { $input | & $program @args } else { & $program @args }
    if ($asks -and -not $LASTEXITCODE) {
        __mm_preflight_ask
        if ($LASTEXITCODE) { [Console]::Error.WriteLine('mm-preflight: the reset had run before this check; once it says clear, reset again') }
    }
}
'mm', 'memtomem' | ForEach-Object {
    if ((Test-Path "Alias:$_") -and (Get-Alias $_).Definition -match '(^|[\\/])(mm|memtomem)(\.exe)?$') {
        Set-Alias "__mm_preflight_own_$_" (Get-Alias $_).Definition
        Remove-Item "Alias:$_" -Force
    } elseif ((Test-Path "Function:$_") -and "$(Get-Content "Function:$_")" -notlike '*__mm_preflight*') {
        Copy-Item "Function:$_" "Function:__mm_preflight_own_$_"
    }
    Set-Item "Function:$_" $function:__mm_preflight
}
