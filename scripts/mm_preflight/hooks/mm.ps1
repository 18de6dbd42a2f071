# mm asks mm-preflight before it drops vectors. Anything else goes straight on.
# What mm was stays what it was: an alias for another program is left alone; an alias for memtomem,
# and a function of your own, are called as they are, between two checks.
function __mm_preflight_ask {
    $check = Get-Command mm-preflight -CommandType Application -ErrorAction Ignore | Select-Object -First 1
    if ($check) { & $check | Out-Host } else { [Console]::Error.WriteLine('mm-preflight: refused, mm-preflight is not on PATH; install it again'); $global:LASTEXITCODE = 2 }
}
function __mm_preflight {
    $first = $MyInvocation.MyCommand.Name; $more = @()
    $asks = "$args" -clike '*embedding-reset*apply-current*'
    $program = Get-Command "__mm_preflight_own_$first" -ErrorAction Ignore
    $around = $asks -and $program
    if ($around) { __mm_preflight_ask; if ($LASTEXITCODE) { return } }
    if (-not $program) {
        if ($asks) { $more = @('--', $first); $first = 'mm-preflight' }
        $program = Get-Command $first -CommandType Application -ErrorAction Ignore | Select-Object -First 1
    }
    if (-not $program) { [Console]::Error.WriteLine("mm-preflight: refused, $first is not on PATH; install it again"); $global:LASTEXITCODE = 2; return }
    if ($MyInvocation.ExpectingInput) { $input | & $program @more @args } else { & $program @more @args }
    if ($around -and -not $LASTEXITCODE) { __mm_preflight_ask }
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
